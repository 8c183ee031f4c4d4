"""A page on its way through the model: prepared in host memory, open while its questions decode, then answered."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.cost.prune_or_not import PruningChoice
from glimpseprune.decode.constraint import BeginConstraint
from pipeline.answering.choice_scores import choice_probabilities
from pipeline.confidence.signals import Signals, signals_of
from pipeline.errors import PageError
from pipeline.families.base import ModelInput, PreparedImage
from pipeline.frame import WHOLE_PAGE, Frame
from pipeline.records import Ask, ChoiceProbability, FallbackReason, Image, OtherAnswer


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The model's answer to one question about a page, or several at once, and the visual tokens kept for it.

    Attributes:
        text: the answer without special tokens.
        finish_reason: ``stop`` at the end of sequence, ``length`` at the limit of new tokens.
        signals: how sure the model was, by its tokens and the glimpse.
        new_tokens: tokens generated, the end of sequence included.
        stats: measurements of prefill, pruning and decoding.
        keep: kept visual tokens, bool ``[N]``, page by page in raster order; ``None`` where nothing was pruned.
        scores: importance logits, float32 ``[N]``; ``None`` where nothing was pruned.
        grids: rows and columns of visual tokens of each page; N is the sum of rows * columns.
        pruning: choice whether to prune on this page, with its expected cost; ``None`` where the question leaves none.
        choice_probabilities: probability of each choice, and of ``n/a``; ``None`` if not asked for.
        fallback: reason why the question was asked again without pruning; ``None`` where it was not.
        pruned_text: the answer with pruning, where it was asked again.
        is_forced: whether the limits of the answer's type replaced a token, so that the model would have said something
            else without them.
        peak_memory_bytes: most memory allocated on the device while the page was open; ``None`` without CUDA.
        presence: probability that the page holds the answer, in 0..1; ``None`` where that was not asked.
        frames: where the grid lies on each page.
        look: number of the look at the page that it is of; each further look shows the page at another size.
        others: the answers of the other looks, which are less sure, in their order.
    """

    text: str
    finish_reason: str
    signals: Signals
    new_tokens: int
    stats: gp.PruneStats
    keep: npt.NDArray[np.bool_] | None
    scores: npt.NDArray[np.float32] | None
    grids: tuple[tuple[int, int], ...]
    pruning: PruningChoice | None = None
    choice_probabilities: tuple[ChoiceProbability, ...] | None = None
    fallback: FallbackReason | None = None
    pruned_text: str | None = None
    is_forced: bool = False
    peak_memory_bytes: int | None = None
    frames: tuple[Frame, ...] = (WHOLE_PAGE,)
    presence: float | None = None
    look: int = 1
    others: tuple[OtherAnswer, ...] = ()

    def on_page(self, number: int) -> ModelAnswer:
        """Return the answer with what was scored and kept of one page alone.

        Args:
            number: number of the page among those that were read, from 0.
        """
        sizes = [rows * columns for rows, columns in self.grids]
        mine = slice(sum(sizes[:number]), sum(sizes[: number + 1]))
        return replace(
            self,
            keep=None if self.keep is None else self.keep[mine],
            scores=None if self.scores is None else self.scores[mine],
            grids=(self.grids[number],),
            frames=(self.frames[number],),
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """Stands in the place of an answer where a page was left out of a question.

    Attributes:
        presence: probability that the page holds the answer, in 0..1.
        vision_ms: wall time of the vision tower in milliseconds, where no question of the page was asked.
        prefix_ms: wall time of scoring in milliseconds, where no question of the page was asked.
    """

    presence: float
    vision_ms: float | None = None
    prefix_ms: float | None = None


PageOutcome = list[ModelAnswer | Skipped] | PageError
"""What became of each question of a page, or the error that prevented the answers."""


@dataclass(frozen=True, slots=True)
class PreparedPage:
    """A page, or several that are read together, and their questions in host memory, ready for the model.

    Attributes:
        asks: the questions.
        images: the page, or the pages.
        prompts: token ids ``[T]`` of each question.
        visible: visual tokens of all images that the model gets to see, bool ``[N]``; ``None`` for all.
        may_skip: ids of the questions that the page may be left out of.
        words_found: share of the words of each question that are on the page, in 0..1; ``None`` where that cannot be
            told. Empty where the page is left out of no question.
        pages: the pixels of the page, or pages, ``[height, width, 3]``; empty where nothing is asked again.
    """

    asks: tuple[Ask, ...]
    images: tuple[PreparedImage, ...]
    prompts: list[Tensor]
    visible: Tensor | None = None
    may_skip: frozenset[str] = frozenset()
    words_found: tuple[float | None, ...] = ()
    pages: tuple[Image, ...] = ()


@dataclass(slots=True)
class OpenPage:
    """A page whose questions are prefilled but not all answered.

    Attributes:
        asks: the questions, without those that the page is left out of.
        prompts: token ids ``[T]`` of each question.
        sequences: prefilled state of each question.
        stats: measurements of each question; the decoding time is added at the end.
        constraints: function that makes the limits of each answer, ``None`` for none.
        grids: rows and columns of visual tokens of each page.
        frames: where the grid lies on each page.
        pruning: choice whether to prune on this page; ``None`` where no question leaves it open.
        read: the page for questions that are asked again without pruning; ``None`` where none is.
        began_at_s: ``time.monotonic()`` when the model began the page.
        memory_mark: mark of the memory when the model began the page.
        presences: probability that the page holds the answer to each question, in 0..1, ``None`` where it was not asked
            for; empty where that holds for all.
        skipped: questions that the page is left out of, by their place among all.
        pages: the pixels of each page, ``[height, width, 3]``; empty where nothing is asked again.
    """

    asks: tuple[Ask, ...]
    prompts: list[Tensor]
    sequences: list[gp.Prefilled]
    stats: list[gp.PruneStats]
    constraints: list[BeginConstraint | None]
    grids: tuple[tuple[int, int], ...]
    frames: tuple[Frame, ...]
    pruning: PruningChoice | None
    read: gp.EncodedPage | None
    began_at_s: float
    memory_mark: int
    presences: Sequence[float | None] = ()
    skipped: Mapping[int, Skipped] = field(default_factory=dict)
    pages: tuple[Image, ...] = ()

    def without_state(self) -> OpenPage:
        """Return the page without what the model made of it, which would keep the device's memory."""
        return replace(self, sequences=[], read=None)

    def enter(self, pool: gp.DecodePool, key: Hashable) -> None:
        """Add every question to the pool."""
        for i, (ask, prompt, sequence) in enumerate(zip(self.asks, self.prompts, self.sequences, strict=True)):
            prompt = prompt.to(sequence.logits.device)
            pool.add((key, i), sequence, prompt, ask.max_new_tokens, self.constraints[i])

    def complete(self, pool: gp.DecodePool, key: Hashable) -> bool:
        """Tell whether the pool has all answers."""
        return all((key, i) in pool.done for i in range(len(self.asks)))

    def answers(
        self, pool: gp.DecodePool, key: Hashable, processor: ModelInput, eos_token_ids: Collection[int]
    ) -> list[ModelAnswer]:
        """Take the answers out of the pool."""
        return [self._answer(pool.done.pop((key, i)), i, processor, eos_token_ids) for i in range(len(self.asks))]

    def with_skipped(self, answers: Iterable[ModelAnswer]) -> list[ModelAnswer | Skipped]:
        """Return what became of all questions, in their order.

        Args:
            answers: answers to all questions that were asked.
        """
        every: list[ModelAnswer | Skipped] = list(answers)
        for place, skipped in sorted(self.skipped.items()):
            every.insert(place, skipped)
        return every

    def _answer(
        self, decoded: gp.Decoded, i: int, processor: ModelInput, eos_token_ids: Collection[int]
    ) -> ModelAnswer:
        sequence, stats = self.sequences[i], self.stats[i]
        stats.decode_ms = decoded.decode_ms
        scores = None if sequence.scores is None else sequence.scores.cpu().numpy()
        keep = None if scores is None else sequence.keep.cpu().numpy()
        return ModelAnswer(
            text=processor.text(torch.tensor(decoded.tokens)),
            finish_reason="stop" if decoded.tokens[-1] in eos_token_ids else "length",
            signals=signals_of(decoded.logprobs, decoded.margins, keep, scores),
            new_tokens=len(decoded.tokens),
            is_forced=decoded.replaced > 0,
            presence=self.presences[i] if self.presences else None,
            stats=stats,
            keep=keep,
            scores=scores,
            grids=self.grids,
            frames=self.frames,
            pruning=self.pruning if self.asks[i].prune_auto else None,
            choice_probabilities=None
            if sequence.continuations is None
            else choice_probabilities(self.asks[i], processor, eos_token_ids, sequence.continuations),
        )


def with_times(stats: gp.PruneStats, one: gp.PruneStats, two: gp.PruneStats) -> gp.PruneStats:
    """Give the measurements of an answer the times of both rounds in which its question was asked.

    Args:
        stats: measurements of the answer that stays.
        one: measurements of one round.
        two: measurements of the other.
    """
    return replace(
        stats,
        prefill_ms=_sum_of_known(one.prefill_ms, two.prefill_ms),
        decode_ms=_sum_of_known(one.decode_ms, two.decode_ms),
        prefix_ms=_sum_of_known(one.prefix_ms, two.prefix_ms),
        vision_ms=_sum_of_known(one.vision_ms, two.vision_ms),
    )


def _sum_of_known(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other
