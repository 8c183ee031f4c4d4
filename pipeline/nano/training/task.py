"""Training the embedded model, as a task of :mod:`glimpseprune.training.trainer`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from glimpseprune.training.trainer import Figures, flat_then_linear
from pipeline.nano.training import recipe
from pipeline.nano.training.language import AnswerHeads, Questions, answer_losses, text_rotary
from pipeline.nano.training.muon import fast_dtype, make_optimizers
from pipeline.nano.training.pages import PageBatch, page_batch
from pipeline.nano.training.real_questions import real_page_batch
from pipeline.nano.training.real_text import real_batch
from pipeline.nano.training.recipe import SOURCES, WEIGHTS, Phase
from pipeline.nano.training.shape import CELL, make_model
from pipeline.nano.training.text_pages import TextBatch, text_batch
from pipeline.nano.training.tower import ReadingHeads, merge, raster_order, reading_losses, run_tower, vision_rotary


class NanoModule(nn.Module):
    """The stock model and the heads that training adds; only the model is shipped."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.model = make_model(seed)
        self.reading = ReadingHeads()
        self.answering = AnswerHeads()


class NanoTask:
    """The recipe, step by step.

    Args:
        seed: of weights and data.
        device: where to compute.
        phases: what to train on, in order; shorter ones serve tests.
    """

    accumulation_steps = 1
    max_grad_norm = recipe.MAX_GRAD_NORM

    def __init__(self, seed: int, device: torch.device, phases: Sequence[Phase] = recipe.PHASES) -> None:
        self.seed, self.device, self.phases = seed, device, phases
        self.dtype = fast_dtype(device)
        self.steps = sum(phase.steps for phase in phases)
        module = NanoModule(seed)
        self.module: NanoModule = module.to(device)
        self.optimizers = make_optimizers(self.module.named_parameters(), recipe.MUON_RATE, recipe.ADAM_RATE)

    def rate(self, step: int) -> float:
        """Warm-up, constant within a phase, linear decay at the end."""
        return self._phase(step).rate * flat_then_linear(step, self.steps, recipe.WARM_UP, recipe.DECAY)

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Loss and figures of a step's batch."""
        rng = random.Random(f"{self.seed} {step} {part}")
        phase = self._phase(step)
        sources = phase.sources
        name = rng.choices(list(sources), list(sources.values()))[0]
        if name in ("text", "real"):
            draw = text_batch if name == "text" else real_batch
            batch = draw(rng.getrandbits(48), recipe.TEXT_CROPS, recipe.TEXT_HEIGHT, recipe.TEXT_WIDTH)
            loss, right = self.text_loss(batch)
            return loss, {f"{name}_read": float(right)}
        if name == "lines":
            return self._lines_loss(rng)
        source = SOURCES[name]
        opened = rng.choices(list(recipe.OPENED), list(recipe.OPENED.values()))[0]
        family = replace(source.family, opening=recipe.OPENINGS[opened]())
        paper = rng.random() < recipe.PAPER
        batch_seed, shift = rng.getrandbits(48), _shift(rng)
        worn = rng.random() < phase.worn
        loss, figures = self.page_loss(page_batch(batch_seed, source.pages, family, source.asking, paper, worn), shift)
        return loss, {key: float(value) for key, value in figures.items() if value.ndim == 0}

    def _lines_loss(self, rng: random.Random) -> tuple[Tensor, Figures]:
        """Loss and figures of questions about the lines of real pages."""
        paper = rng.random() < recipe.PAPER
        size = recipe.LINE_CROPS, recipe.LINE_HEIGHT, recipe.LINE_WIDTH
        pages = real_page_batch(rng.getrandbits(48), *size, recipe.LINE_ASKING, paper)
        loss, figures = self.page_loss(pages, _shift(rng))
        return loss, {f"lines_{key}": float(figures[key]) for key in ("answer", "exact", "tokens", "pointed")}

    def _phase(self, step: int) -> Phase:
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise ValueError(f"the recipe has {self.steps} steps, asked for {self.steps + step}")

    def _rotary(self, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        cos, sin = (t.to(self.device, self.dtype) for t in rotary)
        return cos, sin

    def text_loss(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Loss of reading crops, and the share of their characters read right."""
        vision = self.module.model.model.visual
        pixels, patch, cell = (t.to(self.device) for t in (batch.pixels, batch.patch, batch.cell))
        height, width = pixels.shape[1:]
        x = run_tower(vision, pixels, self._rotary(vision_rotary(height, width)))
        return reading_losses(vision, self.module.reading, x, merge(vision, x), patch, cell)

    def page_loss(self, pages: PageBatch, shift: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and figures of pages whose questions stand ``shift`` rows or columns further behind the image."""
        height, width = pages.pixels.shape[1:]
        rows, columns = height // CELL, width // CELL
        vision, text = self.module.model.model.visual, self.module.model.model.language_model
        pixels, patch, cell = (t.to(self.device) for t in (pages.pixels, pages.patch, pages.cell))
        told = Questions(*(getattr(pages.questions, name).to(self.device) for name in Questions.__slots__))
        visible = pages.visible
        turns = self._rotary(
            text_rotary(rows, columns, pages.questions.offset, shift, None if visible is None else visible.cells)
        )
        vision_turns = self._rotary(vision_rotary(height, width))
        if visible is None:
            x = run_tower(vision, pixels, vision_turns)
            tokens = merge(vision, x)
            image, hidden = tokens[:, raster_order(rows, columns).to(self.device)], None
        else:
            visible = visible.to(self.device)
            x = run_tower(vision, pixels, vision_turns, visible.patches, visible.known.repeat_interleave(4, 1))
            tokens = merge(vision, x)
            image, hidden = visible.in_raster_order(tokens), visible.hidden
        reading, right = reading_losses(vision, self.module.reading, x, tokens, patch, cell)
        said = answer_losses(text, self.module.answering, image, told, turns, hidden)
        loss = said.answer + WEIGHTS["reading"] * reading
        loss = loss + WEIGHTS["pointer"] * said.pointer + WEIGHTS["slot"] * said.slot
        loss = loss + WEIGHTS["tags"] * said.tags + WEIGHTS["asked"] * said.asked
        figures = {
            "answer": said.answer.detach(),
            "exact": said.exact.sum() / said.counted.sum(),
            "tokens": said.tokens,
            "pointed": said.pointed,
            "page_read": right,
            "exact_of": said.exact,
            "counted": said.counted,
        }
        return loss, figures


def _shift(rng: random.Random) -> int:
    """Rows or columns by which questions are moved, half of the time."""
    return rng.randint(0, recipe.MAX_SHIFT) if rng.random() < 0.5 else 0
