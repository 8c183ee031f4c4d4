"""What a step of the training shows, drawn from the number of the step alone, and drawn ahead by other processes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.nano.training import recipe
from pipeline.nano.training.language import Questions
from pipeline.nano.training.pages import PageBatch, page_batch
from pipeline.nano.training.real_questions import real_page_batch
from pipeline.nano.training.real_text import real_batch
from pipeline.nano.training.recipe import SOURCES, Phase
from pipeline.nano.training.text_pages import TextBatch, text_batch

_AHEAD = 3  # batches that each process draws ahead


@dataclass(frozen=True, slots=True)
class Drawn:
    """A batch, the name of its source, and the rows or columns by which its questions are moved."""

    source: str
    batch: TextBatch | PageBatch
    shift: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it by name; of pages also what is asked, and the shift."""
        batch = self.batch
        found = {"pixels": batch.pixels, "patch": batch.patch, "cell": batch.cell}
        if isinstance(batch, PageBatch):
            found |= {name: getattr(batch.questions, name) for name in Questions.__slots__}
            found |= {} if batch.seen is None else {"seen": batch.seen}
            found["shift"] = torch.tensor(self.shift)
        return found


def phase_of(phases: Sequence[Phase], step: int) -> tuple[Phase, int]:
    """Find the phase of a step, and the number of its first step.

    Args:
        phases: phases in order.
        step: number of the step, from 0.

    Raises:
        ValueError: the phases have fewer steps.
    """
    begun = 0
    for phase in phases:
        if step < begun + phase.steps:
            return phase, begun
        begun += phase.steps
    raise ValueError(f"the recipe has {begun} steps, asked for step {step}")


def shown_first(step: int, repeats: int) -> int:
    """The step that first shows what a step shows: its own number, or an earlier one whose batch is shown again.

    Every batch is shown so many times, some hundred steps apart, since a GPU learns faster than CPUs draw.

    Args:
        step: number of the step, from 0.
        repeats: how many times each batch is shown.
    """
    begun, again = divmod(step, repeats)
    earlier = begun - again * recipe.APART
    return step if earlier < 0 else earlier * repeats


def draw(seed: int, phases: Sequence[Phase], step: int, part: int) -> Drawn:
    """Draw one part of the batch that a step shows first; the same arguments, the same batch.

    Args:
        seed: of the run.
        phases: phases in order.
        step: number of the step, from 0.
        part: number of the part.
    """
    rng = random.Random(f"{seed} {step} {part}")
    phase, _ = phase_of(phases, step)
    name = rng.choices(list(phase.sources), list(phase.sources.values()))[0]
    if name in ("text", "real"):
        crops = text_batch if name == "text" else real_batch
        size = phase.batch * recipe.TEXT_CROPS, recipe.TEXT_HEIGHT, recipe.TEXT_WIDTH
        return Drawn(name, crops(rng.getrandbits(48), *size))
    if name in recipe.LINES:
        lines, paper = recipe.LINES[name], rng.random() < recipe.PAPER
        size = phase.batch * lines.crops, lines.height, lines.width
        return Drawn(name, real_page_batch(rng.getrandbits(48), *size, lines.asking, paper), _shift(rng))
    source = SOURCES[name]
    opened = rng.choices(list(recipe.OPENED), list(recipe.OPENED.values()))[0]
    family = replace(source.family, opening=recipe.OPENINGS[opened]())
    paper = rng.random() < recipe.PAPER
    batch_seed, shift = rng.getrandbits(48), _shift(rng)
    worn = rng.random() < phase.worn
    return Drawn(name, page_batch(batch_seed, phase.batch * source.pages, family, source.asking, paper, worn), shift)


def draw_ahead(
    seed: int, phases: Sequence[Phase], steps: range, part: int, processes: int, repeats: int
) -> Iterator[Drawn]:
    """Draw what steps show, in order, in processes that begin as copies of this one.

    Args:
        seed: of the run.
        phases: phases in order.
        steps: numbers of the steps.
        part: number of the part.
        processes: number of processes.
        repeats: how many times each batch is shown.
    """
    last = {shown_first(step, repeats): step for step in steps}
    order = list(dict.fromkeys(shown_first(step, repeats) for step in steps))
    loader = DataLoader(
        _Draws(seed, phases, part),
        batch_size=None,
        sampler=order,
        num_workers=processes,
        prefetch_factor=_AHEAD,
        multiprocessing_context="fork",
    )
    drawn = zip(order, loader, strict=True)
    kept: dict[int, Drawn] = {}
    for step in steps:
        wanted = shown_first(step, repeats)
        while wanted not in kept:
            number, batch = next(drawn)
            kept[number] = batch
        yield kept.pop(wanted) if last[wanted] == step else kept[wanted]


class _Draws(Dataset[Drawn]):
    def __init__(self, seed: int, phases: Sequence[Phase], part: int) -> None:
        self._arguments = seed, phases, part

    def __getitem__(self, step: int) -> Drawn:
        seed, phases, part = self._arguments
        return draw(seed, phases, step, part)


def _shift(rng: random.Random) -> int:
    """Rows or columns by which questions are moved, half of the time."""
    return rng.randint(0, recipe.MAX_SHIFT) if rng.random() < 0.5 else 0
