from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from pipeline.output.aggregate import CHOSEN
from pipeline.output.aggregate import aggregate as choose
from pipeline.output.schema import VALUE_COLUMNS

RULES = ("best", "first", "all", "list", "vote", "sum", "min", "max")


def row(
    page: int | None,
    answer: str | None = None,
    confidence: float | None = 0.5,
    number: str | None = None,
    status: str = "answered",
    currency: str | None = None,
    day: date | None = None,
) -> dict[str, Any]:
    """A row of ``answers`` with a number, an amount, a date or no value."""
    value = number
    if currency is not None:
        value = json.dumps({"amount": number, "currency": currency})
    elif day is not None:
        value = json.dumps(day.isoformat())
    made = dict.fromkeys(VALUE_COLUMNS) | {"value": value, "value_currency": currency, "value_date": day}
    made["value_number"] = None if number is None else Decimal(number).quantize(Decimal("1.0000000000"))
    pages = None if page is None else [page]
    made |= {"page": page, "pages": pages}
    return {"status": status, "answer": answer, "confidence": confidence, "confidence_raw": 0.5, **made}


def aggregate(rule: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The columns of the row of ``documents``."""
    choice = choose(rule, [{**row, "place": place} for place, row in enumerate(rows)])
    taken = dict.fromkeys(CHOSEN) if choice.place is None else {name: rows[choice.place][name] for name in CHOSEN}
    return {**taken, **choice.changes, "pages_asked": choice.pages_asked, "chosen_by": choice.chosen_by}


ROWS = [
    row(1, "ten", 0.5, "10"),
    row(2, "n/a", 0.99, status="not_answerable"),
    row(3, "eleven", 0.9, "11"),
    row(4, "huge", 0.99, "1000", status="needs_review"),
    row(5, "10", 0.6, "10"),
    row(6, status="failed"),
]
EACH = '["ten", "eleven", "huge", "10"]'
ALL = pytest.approx(0.5 * 0.9 * 0.99 * 0.6)  # that each of them is right


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("best", ("answered", "eleven", "11", 0.9, 3, "most confident of 4 answers")),
        ("first", ("answered", "ten", "10", 0.5, 1, "first of 4 answers")),
        ("all", ("needs_review", EACH, None, ALL, None, "all 4 different answers, 1 page failed")),
        ("list", ("needs_review", EACH, "[10, 11, 1000]", ALL, None, "all 3 different values, 1 page failed")),
        ("vote", ("answered", "10", "10", 0.6, 5, "2 of 4 votes")),
        ("sum", ("needs_review", "1031", "1031", ALL, None, "sum of 4 answers, 1 page failed")),
        ("min", ("needs_review", "ten", "10", 0.5, 1, "min of 4 answers, 1 page failed")),
        ("max", ("needs_review", "huge", "1000", 0.99, 4, "max of 4 answers, 1 page failed")),
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
    skipped = ", 1 page skipped" if "skipped" in statuses else ""
    assert chosen["chosen_by"] == f"{rule}: no answer on any page{skipped}"
    assert chosen["pages_asked"] == len(statuses) - statuses.count("skipped")


def test_skipped_pages_were_not_asked_and_are_told() -> None:
    skipped = [row(n, None, None, status="skipped") for n in (1, 3)]
    found = aggregate("best", [skipped[0], row(2, "ten"), skipped[1]])
    assert (found["answer"], found["page"], found["pages_asked"]) == ("ten", 2, 1)
    assert found["chosen_by"] == "most confident of 1 answers, 2 pages skipped"
    none = aggregate("sum", [*skipped, row(2, "n/a", status="not_answerable")])
    assert (none["status"], none["confidence"]) == ("not_answerable", None)
    assert none["chosen_by"] == "sum: no answer on any page, 2 pages skipped"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("left_out", ["skipped", "failed"])
def test_what_is_made_of_all_answers_needs_review_where_a_page_was_not_read(rule: str, left_out: str) -> None:
    read = [row(1, "5", 0.9, "5"), row(2, "n/a", status="not_answerable")]
    assert aggregate(rule, read)["status"] == "answered"
    chosen = aggregate(rule, [*read, row(3, status=left_out)])
    depends = rule in ("all", "list", "sum", "min", "max")
    assert chosen["status"] == ("needs_review" if depends else "answered")
    assert (f", 1 page {left_out}" in chosen["chosen_by"]) == (depends or left_out == "skipped")


def test_without_a_calibration_answers_are_ranked_by_what_the_model_says_and_have_no_confidence() -> None:
    rows = [row(1, "a", None), row(2, "b", None) | {"confidence_raw": 0.9}, row(3, "a", 0.99)]
    best = aggregate("best", rows)
    assert (best["answer"], best["confidence"]) == ("b", None)
    assert aggregate("vote", rows)["page"] == 1
    assert aggregate("all", rows)["confidence"] is None


@pytest.mark.parametrize("rule", RULES)
def test_a_doubtful_no_is_no_answer_and_counts_only_where_there_is_none(rule: str) -> None:
    doubtful = row(1, "n/a", 0.3, status="needs_review")
    chosen = aggregate(rule, [doubtful, row(2, "n/a", 0.9, status="not_answerable"), row(3, status="failed")])
    assert (chosen["status"], chosen["answer"], chosen["confidence"]) == ("needs_review", None, None)
    chosen = aggregate(rule, [doubtful, row(2, "5", 0.9, "5", currency="EUR")])
    assert chosen["status"] == "answered"
    assert chosen["page"] == (None if rule in ("all", "list", "sum") else 2)


def test_a_choice_that_looks_like_no_answer_is_one() -> None:
    chosen = aggregate("best", [row(1, "NA", 0.3, status="needs_review") | {"value": '"NA"'}])
    assert (chosen["answer"], chosen["value"]) == ("NA", '"NA"')


def test_a_document_that_cannot_be_opened_has_failed() -> None:
    assert aggregate("best", [row(None, status="failed")])["status"] == "failed"


def test_the_lower_page_wins_among_equals() -> None:
    assert aggregate("best", [row(2, "b"), row(1, "a")])["page"] == 1
    assert aggregate("vote", [row(2, "b"), row(1, "a")])["page"] == 1


def test_sum_is_exact_and_needs_every_number() -> None:
    tenths = aggregate("sum", [row(n, "x", number="0.1") for n in range(1, 11)])
    assert (tenths["status"], tenths["value"], tenths["value_number"]) == ("answered", "1", Decimal(1))
    chosen = aggregate("sum", [row(1, "5", number="5"), row(2, "?")])
    assert (chosen["status"], chosen["answer"], chosen["value"]) == ("needs_review", None, None)
    assert chosen["chosen_by"] == "sum: 1 of 2 answers have no number"


def test_amounts_of_one_currency_are_added_up_and_those_of_two_are_not() -> None:
    euros = [row(1, "a", number="1200.50", currency="EUR"), row(2, "b", number="99.5", currency="EUR")]
    total = aggregate("sum", euros)
    assert (total["status"], total["answer"], total["value_currency"]) == ("answered", "1300 EUR", "EUR")
    assert json.loads(total["value"]) == {"amount": "1300", "currency": "EUR"}
    bare = row(1, "a", number="0.50") | {"value": '{"amount": "0.50", "currency": null}'}
    assert (aggregate("sum", [bare])["answer"], aggregate("sum", [bare])["value"]) == ("0.50", bare["value"])
    cents = aggregate("sum", [row(1, "a", number="0.30", currency="EUR"), euros[0]])
    assert cents["answer"] == "1200.80 EUR"
    for rule in ("sum", "min", "max"):
        for other in ("USD", None):
            mixed = aggregate(rule, [*euros, row(3, "c", number="5", currency=other)])
            assert (mixed["status"], mixed["value"], mixed["value_number"]) == ("needs_review", None, None)
            assert mixed["chosen_by"] == f"{rule}: the amounts are in several currencies: EUR, {other or 'none'}"


def test_the_earliest_and_the_latest_date() -> None:
    days = [row(n, f"d{n}", day=date(2024, n, 1)) for n in (3, 1, 2)]
    assert (aggregate("min", days)["value_date"], aggregate("max", days)["answer"]) == (date(2024, 1, 1), "d3")
    assert aggregate("min", [*days, row(9, "?")])["chosen_by"] == "min: 1 of 4 answers have no date"


@pytest.mark.parametrize("other", ["failed", "needs_review"])
def test_a_sum_that_may_be_incomplete_or_wrong_needs_review(other: str) -> None:
    number = "1" if other == "needs_review" else None
    assert aggregate("sum", [row(1, "5", 0.9, "5"), row(2, "1", 0.1, number, other)])["status"] == "needs_review"
    fine = [row(1, "5", 0.9, "5"), row(2, "n/a", status="not_answerable")]
    assert aggregate("sum", fine)["status"] == "answered"
