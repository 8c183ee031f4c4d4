from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from glimpseprune.stats import PruneStats
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.verdict import Verdict, judge
from pipeline.records import Ask
from tests.support.helpers import SIGNALS


def answer(text: str = "x", **changes: Any) -> ModelAnswer:
    stats = PruneStats(10, 5, changes.pop("floor_hit", False), False, 20, 15, 200, 150)
    made = ModelAnswer(text, "stop", SIGNALS, 3, stats, None, None, ((2, 5),))
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer(), Verdict("answered")),
        (answer("N/A"), Verdict("not_answerable")),
        (answer("not answerable."), Verdict("not_answerable")),
        (answer(""), Verdict("needs_review", ("empty",))),
        (answer(finish_reason="length"), Verdict("needs_review", ("cut_off",))),
        (answer(is_forced=True), Verdict("needs_review", ("forced",))),
        (answer("n/a", is_forced=True), Verdict("not_answerable")),
        (answer("n/a", floor_hit=True), Verdict("not_answerable")),
        (answer(floor_hit=True), Verdict("needs_review", ("floor",))),
        (answer("", floor_hit=True, finish_reason="length"), Verdict("needs_review", ("empty", "cut_off", "floor"))),
    ],
)
def test_status(given: ModelAnswer, verdict: Verdict) -> None:
    assert judge(Ask("a", "A?", "text", 9, None), given) == verdict


def test_a_doubtful_page_makes_every_answer_doubtful() -> None:
    ask = Ask("a", "A?", "text", 9, None)
    assert judge(ask, answer(), is_doubtful=True) == Verdict("needs_review", ("page",))
    assert judge(ask, answer("n/a"), is_doubtful=True) == Verdict("needs_review", ("page",))


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer("na"), Verdict("answered")),  # North America, not "no answer"
        (answer("n/a"), Verdict("not_answerable")),
        (answer("Not available."), Verdict("not_answerable")),
    ],
)
def test_point_17_a_choice_may_look_like_no_answer(given: ModelAnswer, verdict: Verdict) -> None:
    assert judge(Ask("a", "A?", "choice", 9, None, choices=("EU", "NA")), given) == verdict
