"""Prefills the questions of a page, and makes room where memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.generation import Keep
from pipeline.answering.cache_memory import CacheMemory
from pipeline.answering.choice_scores import continuations
from pipeline.answering.constraints import Constraints
from pipeline.answering.open_page import PreparedPage
from pipeline.errors import PageError
from pipeline.families.base import ModelInput
from pipeline.records import Ask

_Prefilled = tuple[list[gp.Prefilled], list[gp.PruneStats], gp.EncodedPage]


class Prefiller:
    """Brings pages through the vision tower, and their questions up to the first token of the answer.

    Args:
        model: model from :func:`glimpseprune.load`.
        processor: processor of the same checkpoint.
        memory: measures the memory of each prefill.

    Attributes:
        memory: the same; it also tells whether there is room to begin another page.
        constraints: makes the limits of typed answers.
    """

    def __init__(self, model: gp.GlimpseModel, processor: ModelInput, memory: CacheMemory) -> None:
        self.model = model
        self.processor = processor
        self.memory = memory
        self.constraints = Constraints(processor, model.backbone.shape.vocab_size, model.eos_token_ids)
        self._without_method = replace(model, method=None)  # computes nothing for it

    def read(self, page: PreparedPage, rules: Sequence[Keep]) -> gp.EncodedPage:
        """Run the vision tower on a page, or on several that are read together.

        Args:
            page: the page or pages.
            rules: rule, mask of visual tokens to keep, or ``None`` for each of its questions.
        """
        pixels = [self.processor.patches(image, self.model.backbone.device) for image in page.images]
        model = self._without_method if all(rule is None for rule in rules) else self.model
        prefix = page.prompts[0][: self._end_of_image(page.prompts[0])]
        return gp.encode_pages(model, prefix, pixels, [image.grid for image in page.images], page.visible)

    def score(self, page: PreparedPage, pool: gp.DecodePool) -> tuple[gp.EncodedPage, list[Tensor]]:
        """Read a page and score its visual tokens for each question, before any is prefilled.

        When memory runs out, the questions in the pool are answered first.

        Args:
            page: the page, whose questions all have a rule.
            pool: pool that holds the questions of other pages.

        Returns:
            The page after the vision tower, and the importance logits ``[N]`` of each question, float32.

        Raises:
            PageError: the page does not fit into the device's memory.
        """
        try:
            with self.memory.prefill():
                read = self.read(page, [ask.rule for ask in page.asks])
                end = self._end_of_image(page.prompts[0])
                return read, read.scores([prompt[end:] for prompt in page.prompts])
        except torch.OutOfMemoryError as error:
            if not len(pool):
                raise self._too_large(page.prompts[0]) from error
        pool.run()
        torch.cuda.empty_cache()
        return self.score(page, pool)

    def prefill(
        self,
        asks: Sequence[Ask],
        prompts: Sequence[Tensor],
        rules: Sequence[Keep],
        read_page: Callable[[], gp.EncodedPage],
        pool: gp.DecodePool,
    ) -> _Prefilled:
        """Prefill all questions of a page at once.

        When memory runs out, the questions in the pool are answered first. If that is not enough, this page's questions
        are prefilled in halves, one after the other.

        Args:
            asks: the questions; without any, the page is only read.
            prompts: token ids ``[T]`` of each question.
            rules: rule, mask of visual tokens to keep, or ``None`` for each question.
            read_page: function that returns the page after the vision tower; it is called again where memory ran out.
            pool: pool that holds the questions of other pages.

        Raises:
            PageError: one question alone does not fit into the device's memory.
        """
        try:
            with self.memory.prefill():
                read = read_page()
                if not prompts:
                    return [], [], read
                end = self._end_of_image(prompts[0])
                sequences, stats = read.prefill(
                    [prompt[end:] for prompt in prompts],
                    rules,
                    [ask.max_new_tokens for ask in asks],
                    [self.constraints.of(ask) for ask in asks],
                    [continuations(ask, self.processor, self.model.eos_token_ids) for ask in asks],
                )
                return sequences, stats, read
        except torch.OutOfMemoryError as error:
            if len(prompts) == 1 and not len(pool):
                raise self._too_large(prompts[0]) from error
        # Outside the handler: inside it, the traceback keeps the tensors of the failed call alive.
        alone = not len(pool)
        pool.run()
        torch.cuda.empty_cache()
        if not alone:
            return self.prefill(asks, prompts, rules, read_page, pool)
        half = len(prompts) // 2
        first = self.prefill(asks[:half], prompts[:half], rules[:half], read_page, pool)
        second = self.prefill(asks[half:], prompts[half:], rules[half:], read_page, pool)
        return first[0] + second[0], first[1] + second[1], second[2]

    def _too_large(self, prompt: Tensor) -> PageError:
        tokens = int((prompt == self.processor.image_token_id).sum())
        return PageError(
            "infer",
            "OutOfMemory",
            f"one question on {tokens} visual tokens does not fit into the device's memory; "
            "lower --dpi or --max-visual-tokens",
        )

    def _end_of_image(self, prompt: Tensor) -> int:
        return int((prompt == self.processor.image_token_id).nonzero()[-1]) + 1
