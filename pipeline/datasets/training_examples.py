"""Turns examples into the training examples of GlimpsePrune's stage 1, step by step."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.training.stage1 import LossWeights, TrainingExample, batch_loss
from glimpseprune.training.trainer import Figures, cosine
from pipeline.datasets.example import Example, by_page, covered_cells
from pipeline.datasets.page_images import PageImages
from pipeline.families.base import ModelInput
from pipeline.frame import Frame
from pipeline.pages.blank_paper import visible_cells
from pipeline.questions.question import DEFAULT_PROMPT


class GlimpseTask:
    """Trains an add-on for a frozen model, as a task of :mod:`glimpseprune.training.trainer`.

    Args:
        model: the base; its own add-on, if any, is not used.
        glimpse: the add-on to train, float32 on the model's device.
        processor: processor of the same checkpoint.
        images: renderer of the pages.
        examples: examples to train on.
        steps: number of steps.
        accumulation_steps: batches per step and worker, whose gradients are averaged.
        questions: questions per batch.
        weights: weights of the losses.
        margin: visual tokens by which the answers' boxes grow on every side.
        drop_blank: share of pages whose blank paper is hidden, in 0..1; each epoch draws other pages.
        rate: highest learning rate.
        warm_up: share of the steps in which the learning rate rises, in 0..1.
        seed: seed of order and noise.
        workers: number of workers that share a step.
    """

    max_grad_norm = 1.0

    def __init__(
        self,
        model: gp.GlimpseModel,
        glimpse: Glimpse,
        processor: ModelInput,
        images: PageImages,
        examples: Sequence[Example],
        *,
        steps: int,
        accumulation_steps: int,
        questions: int,
        weights: LossWeights,
        margin: float,
        drop_blank: float,
        rate: float,
        warm_up: float,
        seed: int,
        workers: int,
    ) -> None:
        self.model, self.processor, self.images, self.weights = model, processor, images, weights
        self.module = glimpse.requires_grad_(True)
        self.optimizers = [torch.optim.AdamW(glimpse.parameters(), lr=rate, weight_decay=0.0)]
        self.margin, self.drop_blank = margin, drop_blank
        self.steps, self.accumulation_steps, self.questions = steps, accumulation_steps, questions
        self.warm_up, self.seed, self.workers = warm_up, seed, workers
        self.pages = list(by_page(examples))
        self._order: tuple[int, list[Example]] = (-1, [])
        self._page: tuple[Hashable, _ShownPage | None] = (None, None)

    def rate(self, step: int) -> float:
        """Return the factor of the learning rate at a step: a cosine with warm-up."""
        return cosine(step, self.steps, self.warm_up)

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Compute the loss of the batch ``part`` of a step."""
        first = (step * self.accumulation_steps * self.workers + part) * self.questions
        training_examples = [self._training_example(self._example(first + i)) for i in range(self.questions)]
        noise = torch.Generator().manual_seed(random.Random(f"{self.seed} {step} {part}").getrandbits(62))
        device = self.model.backbone.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return batch_loss(self.model.backbone, self.module, training_examples, self.weights, noise)

    def _example(self, number: int) -> Example:
        """Return example ``number`` of an endless sequence; each epoch has all, page by page, in its own order."""
        epoch, place = divmod(number, sum(len(page) for page in self.pages))
        if self._order[0] != epoch:
            rng = random.Random(f"{self.seed} epoch {epoch}")
            pages = [rng.sample(page, len(page)) for page in rng.sample(self.pages, len(self.pages))]
            self._order = epoch, [example for page in pages for example in page]
        return self._order[1][place]

    def _training_example(self, example: Example) -> TrainingExample:
        backbone = self.model.backbone
        shown = self._shown(example)
        ids = self.processor.prompt(DEFAULT_PROMPT.format(text=example.question), shown.grid)
        prompt = backbone.page_prompts([ids], [shown.pixels], [shown.grid])[0]
        answer = self.processor.answer(example.answers[0], self.model.eos_token_ids)
        evidence = None
        if example.regions:
            rows, columns = shown.token_grid
            placed = [region.on_grid(shown.frame) for region in example.regions]
            boxes = [region.grown(self.margin / columns, self.margin / rows) for region in placed]
            evidence = torch.from_numpy(covered_cells(boxes, rows, columns)).to(backbone.device)
        return TrainingExample(prompt, answer.to(backbone.device), evidence, shown.visible)

    def _shown(self, example: Example) -> _ShownPage:
        """Return the example's page in this epoch; the last page is cached, since its examples are consecutive."""
        key = (self._order[0], example.document, example.page)
        kept = self._page[1]
        if kept is not None and self._page[0] == key:
            return kept
        device = self.model.backbone.device
        page = self.images.of(example)
        image = self.processor.prepare(page)
        rng = random.Random(f"{self.seed} blank {self._order[0]} {example.document} {example.page}")
        visible = self.processor.visible(page, image, visible_cells) if rng.random() < self.drop_blank else None
        shown = _ShownPage(
            self.processor.patches(image, device),
            image.grid,
            self.processor.token_grid(image),
            image.frame,
            None if visible is None else visible.to(device),
        )
        self._page = key, shown
        return shown


@dataclass(frozen=True, slots=True)
class _ShownPage:
    """A page as the model sees it.

    Attributes:
        pixels: patches ``[patches, patch_dim]``.
        grid: rows and columns of patches.
        token_grid: rows and columns of visual tokens.
        frame: where that grid lies on the page.
        visible: mask of the visual tokens that are shown, bool ``[N]``; ``None`` shows all.
    """

    pixels: Tensor
    grid: tuple[int, int]
    token_grid: tuple[int, int]
    frame: Frame
    visible: Tensor | None
