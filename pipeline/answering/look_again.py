"""Looks at a page again, at another size, for the questions whose answers are not sure.

Letters then fall otherwise on the model's patches, so that what was misread once is seldom misread the same way again;
of different answers, the surer one is more often right (``docs/quality.md``, looking again).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL.Image import Resampling, fromarray

from pipeline.answering.open_page import ModelAnswer, OpenPage, with_times
from pipeline.families.base import ModelInput
from pipeline.records import Ask, Image, OtherAnswer

MOST_LOOKS = 3
_STEP = 1 / 16
"""By how much a page is larger at each further look; smaller by as much, where that is more than the model takes."""


@dataclass(frozen=True, slots=True)
class LookedAgain:
    """A page of which some questions are asked again.

    Attributes:
        opened: the page as it was opened first, without its state.
        answers: the answers so far to all questions of the page.
        places: places of those that are asked again.
        pages: the page, or pages, at another size, ``[height, width, 3]``.
        look: number of this look at the page, from 2.
    """

    opened: OpenPage
    answers: list[ModelAnswer]
    places: tuple[int, ...]
    pages: tuple[Image, ...]
    look: int

    @property
    def asks(self) -> list[Ask]:
        """The questions that are asked again."""
        return [self.opened.asks[i] for i in self.places]

    def merged(self, found: Sequence[ModelAnswer]) -> list[ModelAnswer]:
        """Return the answers of the page, each the surest so far.

        Args:
            found: the answers to the questions that were asked again.
        """
        answers = list(self.answers)
        for place, answer in zip(self.places, found, strict=True):
            answers[place] = _surest(answers[place], replace(answer, look=self.look))
        return answers


def looked_again(
    opened: OpenPage, answers: Sequence[ModelAnswer], below: float, processor: ModelInput, look: int
) -> LookedAgain | None:
    """Choose the questions of a page that are asked again; ``None`` for none.

    At the second look it is those whose answers are not sure, at the third those of them whose answers differ, too.
    What was asked again without pruning has had its second chance.

    Args:
        opened: the page, as it was opened first.
        answers: answers to its questions.
        below: ``confidence_raw`` from which an answer is sure.
        processor: model input of the checkpoint.
        look: number of the look, from 2.
    """
    if not opened.pages or look > MOST_LOOKS:
        return None
    places = tuple(i for i, answer in enumerate(answers) if _is_open(answer, below, look))
    if not places:
        return None
    resized = [at_another_size(page, processor, look - 1) for page in opened.pages]
    pages = tuple(page for page in resized if page is not None)
    if len(pages) < len(resized):
        return None
    return LookedAgain(opened.without_state(), list(answers), places, pages, look)


def at_another_size(page: Image, processor: ModelInput, steps: int) -> Image | None:
    """Resize a page, preferably to a larger size; ``None`` where the model takes no other.

    Args:
        page: pixels ``[height, width, 3]``, of a size that the model takes.
        processor: model input of the checkpoint.
        steps: how many sixteenths larger, and visual tokens at least along each side.
    """
    height, width = page.shape[:2]
    rows, columns = processor.token_grid(processor.prepare(page))
    cell = height // rows
    if (rows * cell, columns * cell) != (height, width):
        return None
    scale = 1 + steps * _STEP
    larger = [max(round(side * scale), side + steps) for side in (rows, columns)]
    smaller = [max(min(round(side / scale), side - steps), 1) for side in (rows, columns)]
    for down, across in (larger, smaller):
        resized = np.asarray(fromarray(page).resize((across * cell, down * cell), Resampling.BICUBIC))
        if processor.token_grid(processor.prepare(resized)) == (down, across) != (rows, columns):
            return resized
    return None


def _is_open(answer: ModelAnswer, below: float, look: int) -> bool:
    if answer.fallback is not None or answer.signals.confidence_raw >= below:
        return False
    return look == 2 or any(other.answer != answer.text for other in answer.others)


def _surest(before: ModelAnswer, newest: ModelAnswer) -> ModelAnswer:
    """Choose between the surest answer so far and the newest, and give it the cost of all.

    Confidences of looks that agree add up. What neither of the two says has less of it.
    """
    votes: defaultdict[str, float] = defaultdict(float)
    for other in (*before.others, _other(before), _other(newest)):
        votes[other.answer] += other.confidence_raw
    if newest.text == before.text:
        is_newest = newest.signals.confidence_raw > before.signals.confidence_raw
    else:
        is_newest = votes[newest.text] > votes[before.text]
    taken, left = (newest, before) if is_newest else (before, newest)
    return replace(
        taken,
        stats=with_times(taken.stats, before.stats, newest.stats),
        new_tokens=before.new_tokens + newest.new_tokens,
        presence=before.presence,
        others=tuple(sorted((*before.others, _other(left)), key=lambda other: other.look)),
    )


def _other(answer: ModelAnswer) -> OtherAnswer:
    return OtherAnswer(answer.text, answer.signals.confidence_raw, answer.look)
