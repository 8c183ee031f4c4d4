"""Training the embedded model, as a task of :mod:`glimpseprune.training.trainer`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from glimpseprune.training.trainer import Figures
from glimpseprune.without_cudnn import without_cudnn
from pipeline.nano.training import recipe
from pipeline.nano.training.draws import Drawn, draw, draw_ahead, phase_of
from pipeline.nano.training.language import AnswerHeads, Questions, answer_losses, text_rotary
from pipeline.nano.training.muon import fast_dtype, make_optimizers
from pipeline.nano.training.pages import PageBatch
from pipeline.nano.training.recipe import WEIGHTS, Phase
from pipeline.nano.training.shape import CELL, make_model
from pipeline.nano.training.text_pages import TextBatch
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
        self._ahead: Iterator[Drawn] | None = None
        self.dtype = fast_dtype(device)
        self.steps = sum(phase.steps for phase in phases)
        module = NanoModule(seed)
        self.module: NanoModule = module.to(device)
        self.optimizers = make_optimizers(self.module.named_parameters(), recipe.MUON_RATE, recipe.ADAM_RATE)

    def rate(self, step: int) -> float:
        """Warm-up, then as the phases say."""
        phase, begun = phase_of(self.phases, step)
        last = phase.rate if phase.last_rate is None else phase.last_rate
        rate = phase.rate + (last - phase.rate) * (step - begun) / phase.steps
        return rate * min(1.0, (step + 1) / recipe.WARM_UP)

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Loss and figures of a step's batch.

        Beside a GPU other processes draw the batches, from the first step asked for on; steps then come in order.
        """
        with without_cudnn:
            return self._loss(self._drawn(step, part))

    def _drawn(self, step: int, part: int) -> Drawn:
        if self.device.type == "cpu":
            return draw(self.seed, self.phases, step, part)
        if self._ahead is None:
            processes = max(1, len(os.sched_getaffinity(0)) - 1)
            self._ahead = draw_ahead(self.seed, self.phases, range(step, self.steps), part, processes)
        return next(self._ahead)

    def _loss(self, drawn: Drawn) -> tuple[Tensor, Figures]:
        if isinstance(drawn.batch, TextBatch):
            loss, right = self.text_loss(drawn.batch)
            return loss, {f"{drawn.source}_read": float(right)}
        loss, figures = self.page_loss(drawn.batch, drawn.shift)
        single = {name: value for name, value in figures.items() if value.ndim == 0}
        values = torch.stack([value.float() for value in single.values()]).tolist()  # one wait for the device
        before = "lines_" if drawn.source == "lines" else ""
        return loss, {f"{before}{name}": value for name, value in zip(single, values, strict=True)}

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
