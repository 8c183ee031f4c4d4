"""Stage 1 of GlimpsePrune on examples: which questions a step sees, and what they are to the model."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.training.stage1 import LossWeights, TrainingExample, batch_loss
from glimpseprune.training.trainer import Figures, cosine
from pipeline.datasets.example import Example, by_page, covered_cells
from pipeline.datasets.page_images import PageImages
from pipeline.families.qwen_vl_input import Processor
from pipeline.questions.question import DEFAULT_PROMPT


class GlimpseTask:
    """Trains an add-on for a frozen model, as a task of :mod:`glimpseprune.training.trainer`.

    Args:
        model: the base; its own add-on, if any, is not used.
        glimpse: the add-on to train, float32 on the model's device.
        processor: of the same checkpoint.
        images: renders the pages.
        examples: what to learn from.
        steps: how many.
        accumulation_steps: batches a step and worker, whose gradients are averaged.
        questions: of one batch.
        weights: of the losses.
        margin: visual tokens by which the answers' boxes are grown on every side.
        drop_blank: share of the pages whose blank paper is not shown, in 0..1; in each epoch others.
        rate: highest learning rate.
        warm_up: share of the steps in which it rises.
        seed: of order and noise.
        workers: how many share a step.
    """

    max_grad_norm = 1.0

    def __init__(
        self,
        model: gp.GlimpseModel,
        glimpse: Glimpse,
        processor: Processor,
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
        self._page: tuple[Hashable, Tensor, tuple[int, int], Tensor | None] = (None, torch.empty(0), (0, 0), None)

    def rate(self, step: int) -> float:
        """Cosine with warm-up."""
        return cosine(step, self.steps, self.warm_up)

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Loss of the batch ``part`` of a step."""
        first = (step * self.accumulation_steps * self.workers + part) * self.questions
        training_examples = [self._training_example(self._example(first + i)) for i in range(self.questions)]
        noise = torch.Generator().manual_seed(random.Random(f"{self.seed} {step} {part}").getrandbits(62))
        device = self.model.backbone.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return batch_loss(self.model.backbone, self.module, training_examples, self.weights, noise)

    def _example(self, number: int) -> Example:
        """Example ``number`` of an endless sequence: every epoch has them all, page by page, in an order of its own."""
        epoch, place = divmod(number, sum(len(page) for page in self.pages))
        if self._order[0] != epoch:
            rng = random.Random(f"{self.seed} epoch {epoch}")
            pages = [rng.sample(page, len(page)) for page in rng.sample(self.pages, len(self.pages))]
            self._order = epoch, [example for page in pages for example in page]
        return self._order[1][place]

    def _training_example(self, example: Example) -> TrainingExample:
        backbone = self.model.backbone
        key = (self._order[0], example.document, example.page)
        if self._page[0] != key:
            self._page = key, *self._shown(example)
        _, pixels, grid, visible = self._page
        ids = self.processor.prompt(DEFAULT_PROMPT.format(text=example.question), grid)
        prompt = backbone.page_prompts([ids], pixels, grid)[0]
        answer = self.processor.answer(example.answers[0], self.model.eos_token_ids)
        evidence = None
        if example.regions:
            rows, columns = (side // self.processor.merge_size for side in grid)
            boxes = [region.grown(self.margin / columns, self.margin / rows) for region in example.regions]
            evidence = torch.from_numpy(covered_cells(boxes, rows, columns)).to(backbone.device)
        return TrainingExample(prompt, answer.to(backbone.device), evidence, visible)

    def _shown(self, example: Example) -> tuple[Tensor, tuple[int, int], Tensor | None]:
        """Patches and patch grid of an example's page, and what of it is visible in this epoch."""
        device = self.model.backbone.device
        page = self.images.of(example)
        prepared = self.processor.prepare(page)
        rng = random.Random(f"{self.seed} blank {self._order[0]} {example.document} {example.page}")
        visible = self.processor.visible(page, prepared) if rng.random() < self.drop_blank else None
        return self.processor.patches(prepared, device), prepared.grid, None if visible is None else visible.to(device)
