"""Training the embedded model, as a task of :mod:`glimpseprune.training.trainer`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glimpseprune.training.trainer import Figures, flat_then_linear
from pipeline.nano import recipe
from pipeline.nano.language import AnswerHeads, Questions, answer_losses, text_rotary
from pipeline.nano.muon import fast_dtype, make_optimizers
from pipeline.nano.pages import LENGTH, page_batch
from pipeline.nano.recipe import SOURCES, WEIGHTS, Phase
from pipeline.nano.shape import CELL, make_model
from pipeline.nano.text_pages import text_batch
from pipeline.nano.tower import ReadingHeads, merge, raster_order, reading_losses, run_tower, vision_rotary


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
        compiled: compile the forward passes; it takes a minute or two and doubles the speed.
    """

    parts = 1
    clip = recipe.CLIP

    def __init__(
        self, seed: int, device: torch.device, phases: Sequence[Phase] = recipe.PHASES, compiled: bool = True
    ) -> None:
        self.seed, self.device, self.phases = seed, device, phases
        self.dtype = fast_dtype(device)
        self.steps = sum(phase.steps for phase in phases)
        module = NanoModule(seed)
        self.module: NanoModule = module.to(device)
        self.optimizers = make_optimizers(self.module.named_parameters(), recipe.MUON_RATE, recipe.ADAM_RATE)
        self._text: Any = torch.compile(self._text_loss, dynamic=False) if compiled else self._text_loss
        self._pages: Any = torch.compile(self._page_loss, dynamic=False) if compiled else self._page_loss

    def rate(self, step: int) -> float:
        """Warm-up, constant within a phase, linear decay at the end."""
        return self._phase(step).rate * flat_then_linear(step, self.steps, recipe.WARM_UP, recipe.DECAY)

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Loss and figures of a step's batch."""
        rng = random.Random(f"{self.seed} {step} {part}")
        sources = self._phase(step).sources
        name = rng.choices(list(sources), list(sources.values()))[0]
        if name == "text":
            batch = text_batch(rng.getrandbits(48), recipe.TEXT_CROPS, recipe.TEXT_HEIGHT, recipe.TEXT_WIDTH)
            rotary = self._rotary(vision_rotary(recipe.TEXT_HEIGHT, recipe.TEXT_WIDTH))
            loss, right = self._text(*(t.to(self.device) for t in (batch.pixels, batch.patch, batch.cell)), rotary)
            return loss, {"text_read": float(right)}
        source = SOURCES[name]
        pages = page_batch(rng.getrandbits(48), source.pages, source.family, source.asked, source.absent)
        height, width = pages.pixels.shape[1:]
        shift = rng.randint(0, recipe.MAX_SHIFT) if rng.random() < 0.5 else 0
        questions = Questions(*(getattr(pages.questions, name).to(self.device) for name in Questions.__slots__))
        loss, figures = self._pages(
            *(t.to(self.device) for t in (pages.pixels, pages.patch, pages.cell)),
            questions,
            self._rotary(vision_rotary(height, width)),
            self._rotary(text_rotary(height // CELL, width // CELL, LENGTH, shift)),
            raster_order(height // CELL, width // CELL).to(self.device),
        )
        return loss, {key: float(value) for key, value in figures.items()}

    def _phase(self, step: int) -> Phase:
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise ValueError(f"the recipe has {self.steps} steps, asked for {self.steps + step}")

    def _rotary(self, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        cos, sin = (t.to(self.device, self.dtype) for t in rotary)
        return cos, sin

    def _text_loss(
        self, pixels: Tensor, patch: Tensor, cell: Tensor, rotary: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        vision = self.module.model.model.visual
        x = run_tower(vision, pixels, rotary)
        return reading_losses(vision, self.module.reading, x, merge(vision, x), patch, cell)

    def _page_loss(
        self,
        pixels: Tensor,
        patch: Tensor,
        cell: Tensor,
        questions: Questions,
        vision_turns: tuple[Tensor, Tensor],
        text_turns: tuple[Tensor, Tensor],
        raster: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        vision, text = self.module.model.model.visual, self.module.model.model.language_model
        x = run_tower(vision, pixels, vision_turns)
        tokens = merge(vision, x)
        reading, right = reading_losses(vision, self.module.reading, x, tokens, patch, cell)
        told = answer_losses(text, self.module.answering, tokens[:, raster], questions, text_turns)
        loss = told.answer + WEIGHTS["reading"] * reading
        loss = loss + WEIGHTS["pointer"] * told.pointer + WEIGHTS["slot"] * told.slot
        loss = loss + WEIGHTS["tags"] * told.tags + WEIGHTS["asked"] * told.asked
        figures = {
            "answer": told.answer.detach(),
            "exact": told.exact.float().mean(),
            "tokens": told.tokens,
            "pointed": told.pointed,
            "page_read": right,
        }
        return loss, figures
