"""Decides which answers are asked for again with every visual token, and puts the two answers together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import glimpseprune as gp
from pipeline.answering.open_page import ModelAnswer, OpenPage, with_times
from pipeline.answering.prefilling import Prefiller
from pipeline.records import Ask, FallbackReason

LOW_CONFIDENCE = 0.5
"""Geometric mean of the token probabilities below which an answer is asked for again."""
_WHOLE_PAGE = re.compile(
    # Counting, listing, comparing: what needs the whole page, and not one place on it.
    r"\b(?:how many|count|number of (?!the\b|this\b)|wie ?viele|combien de|cu[aá]nt[ao]s|quant[aeio]s?|hoeveel"
    r"|list|name all|all (?:the|of)|each|every|alle"
    r"|compare[ds]?|comparison|difference between"
    r"|(?:more|less|fewer|greater|larger|smaller|higher|lower|earlier|later) than"
    r"|most|least|highest|lowest|largest|smallest|biggest|longest|shortest|earliest|latest)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The pruned answers of a page of which some are asked for again.

    Attributes:
        opened: the page as it was opened first, without its state.
        pruned: the answers of all questions of the page.
        reasons: reason by the place of each question that is asked again, in their order.
        read: the page after the vision tower.
    """

    opened: OpenPage
    pruned: list[ModelAnswer]
    reasons: dict[int, FallbackReason]
    read: gp.EncodedPage

    def reopened(self, prefiller: Prefiller, pool: gp.DecodePool) -> OpenPage:
        """Prefill the questions without pruning, behind the vision tower's result.

        Args:
            prefiller: prefiller of the page answerer.
            pool: pool that holds the questions of other pages.

        Raises:
            PageError: one question alone does not fit into the device's memory.
        """
        opened, places = self.opened, list(self.reasons)
        asks, prompts = tuple(opened.asks[i] for i in places), [opened.prompts[i] for i in places]
        sequences, stats, _ = prefiller.prefill(asks, prompts, [None] * len(places), lambda: self.read, pool)
        return replace(
            opened,
            asks=asks,
            prompts=prompts,
            sequences=sequences,
            stats=stats,
            constraints=[opened.constraints[i] for i in places],
            read=None,
            presences=(),
        )

    def merged(self, unpruned: Sequence[ModelAnswer]) -> list[ModelAnswer]:
        """Return the answers of the page: those without pruning, where there are any.

        Args:
            unpruned: the answers to the questions that were asked again.
        """
        answers = list(self.pruned)
        for (place, reason), answer in zip(self.reasons.items(), unpruned, strict=True):
            answers[place] = _merged(answers[place], answer, reason)
        return answers


def asked_again(opened: OpenPage, answers: Sequence[ModelAnswer]) -> AskedAgain | None:
    """Choose the questions of a page that are asked again; ``None`` for none.

    Args:
        opened: the page.
        answers: answers to its questions; one that was not pruned is not asked for again.
    """
    if opened.read is None:
        return None
    reasons = {i: reason_for(*one) for i, one in enumerate(zip(opened.asks, answers, strict=True))}
    found = {i: reason for i, reason in reasons.items() if reason is not None}
    return AskedAgain(opened.without_state(), list(answers), found, opened.read) if found else None


def reason_for(ask: Ask, answer: ModelAnswer) -> FallbackReason | None:
    """Tell why a question is asked again without pruning; ``None`` where it is not.

    Args:
        ask: the question.
        answer: its answer.
    """
    if answer.keep is None:
        return None
    if ask.type == "list" or _WHOLE_PAGE.search(ask.prompt):
        return "question"
    if answer.stats.floor_hit:
        return "floor"
    return "confidence" if answer.signals.confidence_raw < LOW_CONFIDENCE else None


def _merged(pruned: ModelAnswer, unpruned: ModelAnswer, reason: FallbackReason) -> ModelAnswer:
    """Give an unpruned answer the cost of both, and the scores that say where it may come from."""
    stats = replace(with_times(unpruned.stats, pruned.stats, unpruned.stats), vision_ms=pruned.stats.vision_ms)
    return replace(
        unpruned,
        stats=stats,
        new_tokens=pruned.new_tokens + unpruned.new_tokens,
        keep=pruned.keep,
        scores=pruned.scores,
        pruning=pruned.pruning,
        fallback=reason,
        pruned_text=pruned.text,
        presence=pruned.presence,
    )
