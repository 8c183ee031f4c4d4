from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from pipeline.output.aggregate import aggregate

RULES = ("best", "first", "all", "vote", "sum")


def row(
    page: int | None,
    answer: str | None = None,
    confidence: float | None = 0.5,
    value: str | None = None,
    status: str = "answered",
) -> dict[str, Any]:
    return {"page": page, "status": status, "answer": answer, "value": value, "confidence": confidence}


ROWS = [
    row(1, "ten", 0.5, "10"),
    row(2, "n/a", 0.99, status="not_answerable"),
    row(3, "eleven", 0.9, "11"),
    row(4, "huge", 0.99, "1000", status="needs_review"),
    row(5, "10", 0.6, "10"),
    row(6, status="failed"),
]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("best", ("answered", "eleven", "11", 0.9, 3, "most confident of 4 answers")),
        ("first", ("answered", "ten", "10", 0.5, 1, "first of 4 answers")),
        ("all", ("answered", '["ten", "eleven", "huge", "10"]', None, 0.9, None, "all 4 different answers")),
        ("vote", ("answered", "10", "10", 0.6, 5, "2 of 4 votes")),
        ("sum", ("needs_review", "1031", "1031", 0.9, None, "sum of 4 answers, 1 pages failed")),
    ],
)
def test_each_rule_on_the_same_rows_in_any_order(rule: str, expected: tuple[object, ...]) -> None:
    names = ("status", "answer", "value", "confidence", "page", "chosen_by")
    for order in itertools.islice(itertools.permutations(ROWS), 0, None, 37):
        chosen = aggregate(rule, order)
        assert tuple(chosen[name] for name in names) == expected
        assert chosen["pages_asked"] == 6


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("statuses", "expected"),
    [(["failed", "not_answerable"], "not_answerable"), (["failed", "failed"], "failed"), (["skipped"], "skipped")],
)
def test_without_any_answer_the_status_says_why(rule: str, statuses: list[str], expected: str) -> None:
    chosen = aggregate(rule, [row(n, "n/a", status=status) for n, status in enumerate(statuses, 1)])
    assert chosen["status"] == expected
    assert [chosen[name] for name in ("answer", "value", "confidence", "page")] == [None] * 4
    assert chosen["chosen_by"] == f"{rule}: no answer on any page"


def test_a_document_that_cannot_be_opened_has_failed() -> None:
    assert aggregate("best", [row(None, status="failed")])["status"] == "failed"


def test_the_lower_page_wins_among_equals() -> None:
    assert aggregate("best", [row(2, "b"), row(1, "a")])["page"] == 1
    assert aggregate("vote", [row(2, "b"), row(1, "a")])["page"] == 1


def test_sum_is_exact_and_needs_every_number() -> None:
    tenths = aggregate("sum", [row(n, "x", value="0.1") for n in range(1, 11)])
    assert (tenths["status"], tenths["value"]) == ("answered", "1.0")
    assert json.loads(aggregate("sum", [row(1, "x", value="1e3"), row(2, "y", value="-0.5")])["value"]) == 999.5
    for missing in (None, '"x"', "true", "null", "[1]"):
        chosen = aggregate("sum", [row(1, "5", value="5"), row(2, "?", value=missing)])
        assert (chosen["status"], chosen["answer"], chosen["value"]) == ("needs_review", None, None)
        assert chosen["chosen_by"] == "sum: 1 of 2 answers have no number"


@pytest.mark.parametrize("other", ["failed", "needs_review"])
def test_a_sum_that_may_be_incomplete_or_wrong_needs_review(other: str) -> None:
    value = "1" if other == "needs_review" else None
    assert aggregate("sum", [row(1, "5", 0.9, "5"), row(2, "1", 0.1, value, other)])["status"] == "needs_review"
    fine = [row(1, "5", 0.9, "5"), row(2, "n/a", status="not_answerable")]
    assert aggregate("sum", fine)["status"] == "answered"
