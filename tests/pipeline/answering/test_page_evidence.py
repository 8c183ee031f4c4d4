from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_evidence import AnswerEvidence, PageEvidence
from pipeline.records import Ask, PageImage
from tests.support.page_words import page_of

GRID = (10, 20)  # of 14 x 14 points
PAGE = "Total: 75.00 EUR\nsent 2024-05-01 to\nPaid: 75.00 EUR\nHarbor\nFoods  Ltd"


def answer_of(text: str, *looked: tuple[int, int], pruned: bool = True) -> ModelAnswer:
    """An answer for which the model looked at some tokens (row, column), and at no others."""
    scores = np.full(GRID, -5.0, np.float32)
    for cell in looked:
        scores[cell] = 5.0
    keep = (scores > 0).ravel()
    stats = PruneStats(200, int(keep.sum()), False, False, 209, 50, 1000, 50, 1.5, 2.5, 3.5)
    known = (keep, scores.ravel()) if pruned else (None, None)
    return ModelAnswer(text, "stop", 0.5, 4, stats, *known, (GRID,))


def evidence_of(page: PageImage, answer: ModelAnswer, kind: str = "text", **more: Any) -> AnswerEvidence:
    return PageEvidence(page).of(Ask("q", "What?", kind, 8, KeepRule(), **more), answer)


def corners(evidence: AnswerEvidence) -> list[tuple[float, ...]]:
    return [(box.x0, box.y0, box.x1, box.y1) for box in evidence.boxes or ()]


@pytest.mark.parametrize(("looked", "top"), [((0, 4), 0.0), ((3, 4), 40.0)])
def test_the_glimpse_tells_places_with_the_same_words_apart(looked: tuple[int, int], top: float) -> None:
    found = evidence_of(page_of(PAGE), answer_of("75,00 EUR", looked))
    assert (found.source, found.text, found.on_page) == ("text", "75.00 EUR", True)
    x0 = 10 + 5 * (6 if top == 0 else 5) + 3
    assert corners(found) == [(x0, top, x0 + 5 * 8 + 3, top + 10)]
    assert [box.score for box in found.boxes or ()] == [5.0]


def test_without_scores_the_first_place_is_taken_and_has_no_score() -> None:
    found = evidence_of(page_of(PAGE), answer_of("75.00 EUR", pruned=False))
    assert [(box.y0, box.score) for box in found.boxes or ()] == [(0.0, None)]
    assert found.on_page is True


def test_an_answer_of_two_lines_has_two_boxes() -> None:
    found = evidence_of(page_of(PAGE), answer_of("Harbor Foods", (4, 1)))
    assert corners(found) == [(10.0, 60.0, 40.0, 70.0), (10.0, 80.0, 35.0, 90.0)]
    assert found.text == "Harbor\nFoods"


def test_a_list_has_the_boxes_of_every_item() -> None:
    page = page_of(PAGE)
    found = evidence_of(page, answer_of("Ltd; 2024-05-01", (4, 1)), "list")
    assert (found.text, found.on_page, len(found.boxes or ())) == ("Ltd\n2024-05-01", True, 2)
    partly = evidence_of(page, answer_of("Ltd; 2025-05-01", (4, 1)), "list")
    assert (partly.text, partly.on_page, len(partly.boxes or ())) == ("Ltd", False, 1)


def test_what_is_not_on_the_page_is_where_the_model_looked() -> None:
    found = evidence_of(page_of(PAGE), answer_of("2024-05-02", (1, 3), (1, 4), (1, 5)))
    assert (found.source, found.text, found.on_page) == ("attention", "2024-05-01", False)
    ((x0, y0, x1, y1),) = corners(found)
    assert (x0, y0, x1, y1) == pytest.approx((33, 20, 83, 30), abs=1.0)


def test_what_is_only_like_it_is_shown_and_the_answer_is_not_on_the_page() -> None:
    found = evidence_of(page_of(PAGE), answer_of("Harber Food", (4, 1)))
    assert (found.source, found.text, found.on_page) == ("text", "Harbor\nFoods", False)


@pytest.mark.parametrize(
    ("answer", "kind", "on_page"),
    [
        ("unpaid", "text", False),
        ("yes", "text", None),
        ("Paid", "boolean", None),
        ("unpaid", "choice", None),
        ("Paid", "choice", True),
        ("the goods were sent to them on the first of May", "text", None),
        ("—", "text", None),
        ("2024-05-01, Ltd", "text", None),
        ("2024-05-02, Ltd", "text", False),
        ("one two three, four five six, seven eight nine", "list", False),
        ("one two three four five six seven eight nine, ten", "list", None),
    ],
)
def test_some_answers_need_not_stand_on_the_page(answer: str, kind: str, on_page: bool | None) -> None:
    assert evidence_of(page_of(PAGE), answer_of(answer, (1, 4)), kind).on_page is on_page


def test_a_page_without_a_text_layer_has_what_is_printed_where_the_model_looked() -> None:
    found = evidence_of(page_of(PAGE, layer=False), answer_of("2024-05-01", (1, 3), (1, 4), (1, 5)))
    assert (found.source, found.text, found.on_page) == ("attention", None, None)
    assert corners(found)[0] == pytest.approx((33, 20, 83, 30), abs=1.0)
    unpruned = evidence_of(page_of(PAGE, layer=False), answer_of("2024-05-01", pruned=False))
    assert unpruned == AnswerEvidence()


def test_where_the_picture_has_words_that_the_text_layer_lacks_nothing_is_said() -> None:
    page = page_of(PAGE)
    stamp = dataclasses.replace(page, words=page_of("Total: 75.00").words)
    assert evidence_of(stamp, answer_of("2024-05-01", (1, 4))).on_page is None
    assert evidence_of(stamp, answer_of("2024-05-01", pruned=False)).on_page is None
    assert evidence_of(stamp, answer_of("76.00", (0, 4))).on_page is False
    assert evidence_of(page, answer_of("2024-05-02", pruned=False)).on_page is False
