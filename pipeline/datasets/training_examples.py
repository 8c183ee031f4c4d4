"""Turns examples into the training examples of GlimpsePrune's stage 1, step by step."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.training.stage1 import LossWeights, TrainingExample, batch_loss
from glimpseprune.training.trainer import Figures, cosine
from pipeline.datasets.example import Example, covered_cells
from pipeline.datasets.page_images import PageImages
from pipeline.datasets.training_pages import TrainingPages
from pipeline.families.base import ModelInput


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
        self.examples = TrainingPages(model, processor, images, examples, drop_blank, seed)
        self.module = glimpse.requires_grad_(True)
        self.optimizers = [torch.optim.AdamW(glimpse.parameters(), lr=rate, weight_decay=0.0)]
        self.margin = margin
        self.steps, self.accumulation_steps, self.questions = steps, accumulation_steps, questions
        self.warm_up, self.seed, self.workers = warm_up, seed, workers

    def rate(self, step: int) -> float:
        """Return the factor of the learning rate at a step: a cosine with warm-up."""
        return cosine(step, self.steps, self.warm_up)

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Compute the loss of the batch ``part`` of a step."""
        first = (step * self.accumulation_steps * self.workers + part) * self.questions
        training_examples = [self.training_example(self.examples.at(first + i)) for i in range(self.questions)]
        noise = torch.Generator().manual_seed(random.Random(f"{self.seed} {step} {part}").getrandbits(62))
        device = self.model.backbone.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return batch_loss(self.model.backbone, self.module, training_examples, self.weights, noise)

    def training_example(self, example: Example) -> TrainingExample:
        """Return an example as stage 1 takes it."""
        shown = self.examples.shown(example)
        prompt = self.examples.prompt(example, shown)
        device = self.model.backbone.device
        answer = self.processor.answer(example.answers[0], self.model.eos_token_ids)
        evidence = None
        if example.regions:
            rows, columns = shown.token_grid
            placed = [region.on_grid(shown.frame) for region in example.regions]
            boxes = [region.grown(self.margin / columns, self.margin / rows) for region in placed]
            evidence = torch.from_numpy(covered_cells(boxes, rows, columns)).to(device)
        return TrainingExample(prompt, answer.to(device), evidence, shown.visible)
