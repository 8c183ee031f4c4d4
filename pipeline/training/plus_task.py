"""Trains the language model of a base on pruned sequences, step by step: GRPO of GlimpsePrune+."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.errors import InputError
from glimpseprune.training.grpo.batch import plus_loss, see_prompts
from glimpseprune.training.grpo.lora import Lora
from glimpseprune.training.trainer import Figures, cosine
from pipeline.datasets.example import Example
from pipeline.datasets.page_images import PageImages
from pipeline.datasets.training_pages import TrainingPages
from pipeline.families.base import ModelInput
from pipeline.training.quality import Grader


class PlusTask:
    """Trains LoRA weights of a model whose add-on stays, as a task of :mod:`glimpseprune.training.trainer`.

    Args:
        model: the base with its add-on.
        processor: processor of the same checkpoint.
        images: renderer of the pages.
        examples: examples to train on.
        grader: function that says how good answers are.
        steps: number of steps.
        accumulation_steps: batches per step and worker, whose gradients are averaged.
        questions: questions per batch.
        samples: answers per question, at least two.
        max_new_tokens: longest answer.
        kl: weight of the KL divergence from the frozen model.
        pruning: weight of the pruning rate in the reward.
        drop_blank: share of pages whose blank paper is hidden, in 0..1; each epoch draws other pages.
        rate: highest learning rate.
        warm_up: share of the steps in which the learning rate rises, in 0..1.
        seed: seed of order and samples.
        workers: number of workers that share a step.

    Raises:
        InputError: the model has no add-on.
        UnsupportedModelError: the family's language model cannot be trained.
    """

    max_grad_norm = 1.0

    def __init__(
        self,
        model: gp.GlimpseModel,
        processor: ModelInput,
        images: PageImages,
        examples: Sequence[Example],
        grader: Grader,
        *,
        steps: int,
        accumulation_steps: int,
        questions: int,
        samples: int,
        max_new_tokens: int,
        kl: float,
        pruning: float,
        drop_blank: float,
        rate: float,
        warm_up: float,
        seed: int,
        workers: int,
    ) -> None:
        if model.method is None:
            raise InputError("expected a model with an add-on, found none; load one with glimpse=...")
        self.model, self.method, self.processor, self.images = model, model.method, processor, images
        self.examples = TrainingPages(model, processor, images, examples, drop_blank, seed)
        self.grader = grader
        self.module = Lora(model.backbone)
        self.optimizers = [torch.optim.AdamW(self.module.parameters(), lr=rate, weight_decay=0.0)]
        self.steps, self.accumulation_steps, self.questions = steps, accumulation_steps, questions
        self.samples, self.max_new_tokens, self.kl, self.pruning = samples, max_new_tokens, kl, pruning
        self.warm_up, self.seed, self.workers = warm_up, seed, workers

    def rate(self, step: int) -> float:
        """Return the factor of the learning rate at a step: a cosine with warm-up."""
        return cosine(step, self.steps, self.warm_up)

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        """Sample answers to the batch ``part`` of a step, and compute their loss."""
        first = (step * self.accumulation_steps * self.workers + part) * self.questions
        examples, prompts = [], []
        for number in range(first, first + self.questions):
            example = self.examples.at(number)
            shown = self.examples.shown(example)
            examples.append(example)
            prompts.append((self.examples.prompt(example, shown), shown.visible))

        def quality(answers: Sequence[Sequence[Tensor]]) -> list[list[float]]:
            said = [self.processor.text(tokens) for group in answers for tokens in group]
            asked = [example for example in examples for _ in range(self.samples)]
            grades = self.grader(list(zip(asked, said, strict=True)))
            return [grades[i : i + self.samples] for i in range(0, len(grades), self.samples)]

        generator = torch.Generator(self.model.backbone.device)
        generator.manual_seed(random.Random(f"{self.seed} {step} {part}").getrandbits(62))
        return plus_loss(
            self.model,
            self.method,
            self.module,
            see_prompts(self.model, prompts),
            quality,
            self.samples,
            self.max_new_tokens,
            self.kl,
            self.pruning,
            generator,
        )
