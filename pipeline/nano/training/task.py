"""Training the embedded model, as a task of :mod:`glimpseprune.training.trainer`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from glimpseprune.training.trainer import Figures
from glimpseprune.without_cudnn import without_cudnn
from pipeline.nano.training import recipe
from pipeline.nano.training.captured import CapturedLosses
from pipeline.nano.training.draws import Drawn, draw, draw_ahead, phase_of, shown_first
from pipeline.nano.training.hidden_last import hidden_last
from pipeline.nano.training.language import AnswerHeads, Questions, answer_losses, text_rotary
from pipeline.nano.training.muon import fast_dtype, make_optimizers
from pipeline.nano.training.pages import PageBatch
from pipeline.nano.training.reading_along import Along, AlongHeads, left_of, own_cells
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
        self.along = AlongHeads()


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
        self._captured: dict[int, CapturedLosses] = {}  # by the number of parameters that learn
        # By the size of an image: cosines and sines of its patches, and where each cell stands in window order.
        self._sizes: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}
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
        self.module.model.model.visual.requires_grad_(phase_of(self.phases, step)[0].tower)
        with without_cudnn:
            return self._loss(self._drawn(step, part))

    def _drawn(self, step: int, part: int) -> Drawn:
        if self.device.type == "cpu":
            return draw(self.seed, self.phases, shown_first(step, recipe.REPEATS), part)
        if self._ahead is None:
            processes = max(1, len(os.sched_getaffinity(0)) - 1)
            self._ahead = draw_ahead(self.seed, self.phases, range(step, self.steps), part, processes, recipe.REPEATS)
        return next(self._ahead)

    def _loss(self, drawn: Drawn) -> tuple[Tensor, Figures]:
        inputs = {name: tensor.to(self.device) for name, tensor in drawn.tensors().items()}
        if self.device.type == "cuda":
            learning = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
            if len(learning) not in self._captured:
                self._captured[len(learning)] = CapturedLosses(self._compute, learning)
            loss, figures = self._captured[len(learning)](inputs)
        else:
            loss, figures = self._compute(inputs)
        single = {name: value for name, value in figures.items() if value.ndim == 0}
        values = torch.stack([value.float() for value in single.values()]).tolist()  # one wait for the device
        return loss, {f"{drawn.source}_{name}": value for name, value in zip(single, values, strict=True)}

    def _compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and figures of :meth:`Drawn.tensors`."""
        if "ids" not in inputs:
            loss, right = self.text_loss(TextBatch(**inputs))
            return loss, {"read": right}
        questions = Questions(**{name: inputs[name] for name in Questions.__slots__})
        pages = PageBatch(inputs["pixels"], inputs["patch"], inputs["cell"], questions, inputs.get("seen"))
        return self.page_loss(pages, inputs["shift"])

    def _turns(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Rotary embedding of the patches of an image."""
        if (height, width) not in self._sizes:
            cos, sin = vision_rotary(height, width)
            order = raster_order(height // CELL, width // CELL)
            turns = cos.to(self.device, self.dtype), sin.to(self.device, self.dtype)
            self._sizes[height, width] = *turns, order.to(self.device)
        return self._sizes[height, width][:2]

    def text_loss(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Loss of reading crops on the device, and the share of their characters read right."""
        vision = self.module.model.model.visual
        x = run_tower(vision, batch.pixels, self._turns(*batch.pixels.shape[1:]))
        return reading_losses(vision, self.module.reading, x, merge(vision, x), batch.patch, batch.cell)

    def page_loss(self, pages: PageBatch, shift: int | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and figures of pages on the device, whose questions stand ``shift`` rows or columns further behind."""
        height, width = pages.pixels.shape[1:]
        rows, columns = height // CELL, width // CELL
        vision, text = self.module.model.model.visual, self.module.model.model.language_model
        cos, sin = text_rotary(text.rotary_emb.inv_freq, rows, columns, pages.questions.offset, shift)
        x = run_tower(vision, pages.pixels, self._turns(height, width), pages.seen)
        tokens = merge(vision, x)
        order = self._sizes[height, width][2]
        image, questions, seen = tokens[:, order], pages.questions, pages.seen
        left = left_of(pages.cell[:, order].view(-1, rows, columns, pages.cell.shape[2]))
        reading, right = reading_losses(vision, self.module.reading, x, tokens, pages.patch, pages.cell)
        turns = cos.to(self.dtype), sin.to(self.dtype)
        if seen is not None:
            image, left, questions, turns, seen = hidden_last(image, left, questions, turns, seen)
        along = Along(self.module.along, left, own_cells(questions.pointer, questions.number))
        said = answer_losses(text, self.module.answering, image, questions, turns, seen, along)
        loss = said.answer + WEIGHTS["reading"] * reading
        loss = loss + WEIGHTS["pointer"] * said.pointer + WEIGHTS["slot"] * said.slot
        loss = loss + WEIGHTS["tags"] * said.tags + WEIGHTS["asked"] * said.asked + WEIGHTS["along"] * said.along
        figures = {
            "answer": said.answer.detach(),
            "exact": said.exact.sum() / said.counted.sum(),
            "tokens": said.tokens,
            "pointed": said.pointed,
            "read": right,
            "exact_of": said.exact,
            "counted": said.counted,
        }
        return loss, figures
