"""Where an answer stands among several pages that were read together."""

from __future__ import annotations

import dataclasses

import numpy as np

from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats
from pipeline.answering.group_evidence import GroupEvidence
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_evidence import AnswerEvidence, PageEvidence
from pipeline.frame import WHOLE_PAGE
from pipeline.records import Ask, PageImage
from tests.support.page_words import page_of

GRID = (10, 20)  # of 14 x 14 points
FIRST = page_of("Total: 75.00 EUR\nInvoice 12\nPaid: yes")
SECOND = dataclasses.replace(page_of("Harbor Foods\nsum 75.00 EUR\nRef 2013"), page=2)


def answer_of(text: str, *looked: dict[tuple[int, int], float], pruned: bool = True) -> ModelAnswer:
    """An answer for which the model looked at some tokens (row, column) of each page."""
    scores = np.full((len(looked), *GRID), -5.0, np.float32)
    for number, page in enumerate(looked):
        for cell, score in page.items():
            scores[number][cell] = score
    keep = (scores > 0).ravel()
    stats = PruneStats(keep.size, int(keep.sum()), False, False, 409, 50, 1000, 50, 1.5, 2.5, 3.5)
    known = (keep, scores.ravel()) if pruned else (None, None)
    frames = (WHOLE_PAGE,) * len(looked)
    return ModelAnswer(text, "stop", 0.5, 4, stats, *known, (GRID,) * len(looked), frames=frames)  # type: ignore[arg-type]


def evidence_of(pages: list[PageImage], answer: ModelAnswer, kind: str = "text", **more: str) -> AnswerEvidence:
    return GroupEvidence(pages).of(Ask("q", "What?", kind, 8, KeepRule(), **more), answer)  # type: ignore[arg-type]


def without_text(page: PageImage) -> PageImage:
    return dataclasses.replace(page, words=None)


def test_one_page_has_the_evidence_of_that_page() -> None:
    answer = answer_of("75.00 EUR", {(0, 4): 5.0})
    ask = Ask("q", "What?", "text", 8, KeepRule())
    assert GroupEvidence([FIRST]).of(ask, answer) == PageEvidence(FIRST).of(ask, answer)


def test_the_glimpse_tells_the_same_words_on_two_pages_apart() -> None:
    for looked, page in (({(0, 4): 5.0}, {}), 1), (({}, {(1, 3): 5.0}), 2):
        found = evidence_of([FIRST, SECOND], answer_of("75.00 EUR", *looked))
        assert [box.page for box in found.boxes or ()] == [page]
        assert (found.source, found.text, found.on_page) == ("text", "75.00 EUR", True)


def test_words_that_stand_on_one_page_only_are_found_there_whatever_the_scores() -> None:
    found = evidence_of([FIRST, SECOND], answer_of("Harbor Foods", {(0, 4): 5.0}, {}))
    assert ([box.page for box in found.boxes or ()], found.on_page) == ([2], True)
    found = evidence_of([FIRST, SECOND], answer_of("Harbor Foods", {}, {}, pruned=False))
    assert ([(box.page, box.score) for box in found.boxes or ()], found.on_page) == ([(2, None)], True)


def test_a_misread_answer_goes_behind_one_that_stands_there_as_it_is() -> None:
    other = dataclasses.replace(page_of("Harbour Foods Ltd"), page=3)
    found = evidence_of([other, SECOND], answer_of("Harbor Foods", {(0, 2): 9.0}, {}))
    assert ([box.page for box in found.boxes or ()], found.text, found.on_page) == ([2], "Harbor Foods", True)


def test_what_is_on_neither_page_is_told() -> None:
    found = evidence_of([FIRST, SECOND], answer_of("89.12", {(0, 4): 5.0}, {}))
    assert found.on_page is False
    assert evidence_of([FIRST, without_text(SECOND)], answer_of("89.12", {(0, 4): 5.0}, {})).on_page is None


def test_the_entries_of_a_list_may_stand_on_several_pages() -> None:
    found = evidence_of([FIRST, SECOND], answer_of("Invoice 12, Harbor Foods", {}, {}), "list", items="text")
    assert ([box.page for box in found.boxes or ()], found.text, found.on_page) == (
        [1, 2],
        "Invoice 12\nHarbor Foods",
        True,
    )
    found = evidence_of([FIRST, SECOND], answer_of("Invoice 12, Acme Corporation", {}, {}), "list", items="text")
    assert ([box.page for box in found.boxes or ()], found.on_page) == ([1], False)
    found = evidence_of([FIRST, SECOND], answer_of("Harbor Foods, 2013", {}, {}), "list", items="text")
    assert ([box.page for box in found.boxes or ()], found.on_page) == ([2, 2], True)


def test_without_words_the_page_that_the_model_looked_at_has_the_boxes() -> None:
    pages = [without_text(FIRST), without_text(SECOND)]
    found = evidence_of(pages, answer_of("x", {(0, 4): 2.0}, {(1, 3): 5.0}))
    assert [(box.page, box.score) for box in found.boxes or ()] == [(2, 5.0)]
    assert (found.source, found.text, found.on_page) == ("attention", None, None)
    found = evidence_of(pages, answer_of("x", {(0, 4): 4.0}, {(1, 3): 5.0}))
    assert [(box.page, box.score) for box in found.boxes or ()] == [(2, 5.0), (1, 4.0)]
    assert evidence_of(pages, answer_of("x", {}, {}, pruned=False)) == AnswerEvidence()
