"""Says where an answer stands on the pages that the model read for it: mostly one, or several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.answering.evidence import CLOSE
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_evidence import AnswerEvidence, PageEvidence
from pipeline.questions.values import list_items
from pipeline.records import Ask, Evidence, PageImage

_MOST_ENTRIES = 200  # of a list


class GroupEvidence:
    """Finds the evidence of all answers about the same pages.

    Args:
        images: the pages, in the order in which the model read them.
    """

    def __init__(self, images: Sequence[PageImage]) -> None:
        self._pages = [PageEvidence(image) for image in images]

    def of(self, ask: Ask, answer: ModelAnswer) -> AnswerEvidence:
        """Find where an answer comes from.

        Words of a text layer go before places that the model looked at, and a page that has the answer as it is goes
        before one that has it a little otherwise; among equals, scores decide. The entries of a list may stand on
        several pages.

        Args:
            ask: question that was asked.
            answer: answer of the model, which says more than that there is none.
        """
        if len(self._pages) == 1:
            return self._pages[0].of(ask, answer)
        whole = self._of_one(ask, answer)
        entries = list_items(answer.text)[:_MOST_ENTRIES] if ask.type == "list" else []
        if len(entries) < 2 or (whole.source == "text" and whole.on_page):
            return whole
        one = replace(ask, type=ask.items or "text", items=None)
        found = [self._of_one(one, replace(answer, text=entry)) for entry in entries]
        by_text = [entry for entry in found if entry.source == "text"]
        if not by_text:
            return whole
        known = [entry.on_page for entry in found]
        on_page = True if all(known) else False if False in known else None
        return AnswerEvidence(_boxes(by_text), "text", "\n".join(entry.text or "" for entry in by_text), on_page)

    def _of_one(self, ask: Ask, answer: ModelAnswer) -> AnswerEvidence:
        """Find where an answer comes from that stands in one place, if in any."""
        found = [page.of(ask, answer.on_page(number)) for number, page in enumerate(self._pages)]
        on_page = True if any(one.on_page for one in found) else None
        if all(one.on_page is False for one in found):
            on_page = False
        by_text = [one for one in found if one.source == "text"]
        if by_text:
            return replace(max([one for one in by_text if one.on_page] or by_text, key=_best_score), on_page=on_page)
        looked = sorted((one for one in found if one.boxes), key=_best_score, reverse=True)
        if not looked:
            return AnswerEvidence(on_page=on_page)
        near = tuple(box for box in _boxes(looked) if (box.score or 0.0) >= _best_score(looked[0]) - CLOSE)
        return AnswerEvidence(near, "attention", looked[0].text, on_page)


def _boxes(found: Sequence[AnswerEvidence]) -> tuple[Evidence, ...]:
    return tuple(box for one in found for box in one.boxes or ())


def _best_score(found: AnswerEvidence) -> float:
    return max((box.score for box in found.boxes or () if box.score is not None), default=float("-inf"))
