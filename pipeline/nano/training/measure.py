"""How well a checkpoint of the training reads each held-out family, on a few pages of one size.

An answer counts as right when each of its tokens is the likeliest one after the right ones before it, which is what
greedy decoding would write.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from glimpseprune.training.trainer import load_checkpoint
from pipeline.nano.training import recipe, vocabulary
from pipeline.nano.training.pages import Asking, PageBatch, page_batch
from pipeline.nano.training.real_questions import real_page_batch
from pipeline.nano.training.real_text import HELD_OUT_FOLDERS, real_batch
from pipeline.nano.training.recipe import TEXT_HEIGHT, TEXT_WIDTH
from pipeline.nano.training.task import NanoTask
from pipeline.samples.document import Family
from pipeline.samples.families import FAMILIES

_SIZE_PT = (392.0, 392.0)
_BATCH = 4
_ASKING = Asking(most=10, absent=2, tokens=320, spelled=0.0)
_N_A = vocabulary.answer_ids("n/a")


def measure(task: NanoTask, family: Family, seed: int, pages: int, paper: bool) -> dict[str, float]:
    """Shares of answers right (printed values, and n/a), of answer characters right, and of page characters read."""
    family = replace(family, size_pt=_SIZE_PT, two_columns=0.7)
    return _measured(task, pages, lambda number: page_batch(seed + number, _BATCH, family, _ASKING, paper))


def measure_lines(task: NanoTask, seed: int, pages: int, paper: bool) -> dict[str, float]:
    """The same for questions about the lines of real pages that training never sees."""
    size = recipe.LINES["lines"].height, recipe.LINES["lines"].width
    return _measured(
        task,
        pages,
        lambda number: real_page_batch(seed + number, _BATCH, *size, _ASKING, paper, HELD_OUT_FOLDERS),
    )


def _measured(task: NanoTask, pages: int, draw: Callable[[int], PageBatch]) -> dict[str, float]:
    found: list[bool] = []
    absent: list[bool] = []
    figures: list[tuple[float, float, float]] = []
    for number in range(-(-pages // _BATCH)):
        batch = draw(number)
        with torch.no_grad():
            _, told = task.page_loss(batch, 0)
        for page, question in told["counted"].nonzero().tolist():
            own = batch.questions.targets[page, batch.questions.number[page] == question]
            right = bool(told["exact_of"][page, question])
            (absent if own[own >= 0].tolist() == _N_A else found).append(right)
        figures.append((float(told["tokens"]), float(told["pointed"]), float(told["read"])))
    tokens, pointed, read = (sum(column) / len(figures) for column in zip(*figures, strict=True))
    return {
        "exact": sum(found) / max(1, len(found)),
        "n/a": sum(absent) / max(1, len(absent)),
        "questions": float(len(found) + len(absent)),
        "tokens": tokens,
        "pointed": pointed,
        "read": read,
    }


def measure_real_text(task: NanoTask, seed: int, pages: int) -> float:
    """Share of characters read on crops of real pages that training never sees."""
    shares = []
    for number in range(-(-pages // _BATCH)):
        batch = real_batch(seed + number, _BATCH, TEXT_HEIGHT, TEXT_WIDTH, HELD_OUT_FOLDERS)
        with torch.no_grad():
            _, right = task.text_loss(batch)
        shares.append(float(right))
    return sum(shares) / len(shares)


def main() -> None:
    """Print a line for each family."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--pages", type=int, default=16)
    parser.add_argument("--seed", type=int, default=900_000)
    arguments = parser.parse_args()
    task = NanoTask(0, torch.device("cpu"))
    print(f"step {load_checkpoint(arguments.checkpoint, task)}")  # noqa: T201
    print(f"real text read {measure_real_text(task, arguments.seed, arguments.pages):.3f}", flush=True)  # noqa: T201
    for name in ("lines", *FAMILIES):
        for paper in (True, False):
            if name == "lines":
                figures = measure_lines(task, arguments.seed, arguments.pages, paper)
            else:
                figures = measure(task, FAMILIES[name], arguments.seed, arguments.pages, paper)
            told = " ".join(f"{key} {value:.3f}" for key, value in figures.items())
            print(f"{name:8} {'whole' if paper else 'no paper':8} {told}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
