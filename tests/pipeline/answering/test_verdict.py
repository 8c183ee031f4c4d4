from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from glimpseprune.stats import PruneStats
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.verdict import Verdict, judge
from pipeline.records import Ask


def answer(text: str = "x", **changes: Any) -> ModelAnswer:
    stats = PruneStats(10, 5, changes.pop("floor_hit", False), False, 20, 15, 200, 150)
    made = ModelAnswer(text, "stop", 0.9, 3, stats, None, None, (2, 5))
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (answer(), "answered"),
        (answer("N/A"), "not_answerable"),
        (answer("not answerable."), "not_answerable"),
        (answer(""), "needs_review"),
        (answer(finish_reason="length"), "needs_review"),
        (answer(floor_hit=True), "needs_review"),
    ],
)
def test_status(given: ModelAnswer, status: str) -> None:
    assert judge(Ask("a", "A?", "text", 9, None), given) == Verdict(status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer("na"), Verdict("answered", "NA")),  # North America, not "no answer"
        (answer("n/a"), Verdict("not_answerable")),
        (answer("Not available."), Verdict("not_answerable")),
        (answer("eu", finish_reason="length"), Verdict("needs_review", "EU")),
        (answer("eu", floor_hit=True), Verdict("needs_review", "EU")),
        (answer("Asia"), Verdict("needs_review", None, "expected one of EU, NA, found 'Asia'")),
        (answer(""), Verdict("needs_review", None, "expected one of EU, NA, found ''")),
    ],
)
def test_point_17_a_choice_is_enforced(given: ModelAnswer, verdict: Verdict) -> None:
    assert judge(Ask("a", "A?", "choice", 9, None, choices=("EU", "NA")), given) == verdict
