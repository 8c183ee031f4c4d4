"""What answers are worth follows from the present types of their questions, whenever they were given."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.output.typed import with_values
from pipeline.questions.values import Reading
from pipeline.records import Reason
from tests.support.bundles import questions, result_of, units_and_bundles
from tests.support.published import everything

ASKED = questions("version: 1\nquestions:\n  - {id: a, text: A}\n  - {id: b, text: B}\n")
MONEY = Reading("money", "de_DE", aggregate="sum")


@pytest.fixture
def store(tmp_path: Path) -> OutputStore:
    return OutputStore(Folder(str(tmp_path)))


def commit(store: OutputStore, answers: Sequence[str], reasons: tuple[Reason, ...] = ()) -> None:
    """One document with a page for each answer, which question ``a`` gets; ``b`` gets it too."""
    _, bundles = units_and_bundles([len(answers)], ASKED)
    for bundle in bundles:
        result = result_of(bundle)
        status = "needs_review" if reasons else "answered"
        rows = tuple(
            dataclasses.replace(row, answer=answers[row.page - 1], status=status, review_reasons=reasons)  # type: ignore[operator,arg-type]
            for row in result.answers
        )
        store.commit(dataclasses.replace(result, answers=rows))


def rows(store: OutputStore, question: str, *names: str) -> list[tuple[Any, ...]]:
    table = pq.read_table(f"{store.folder.root}/answers").to_pylist()
    return [tuple(row[name] for name in names) for row in table if row["question_id"] == question]


def publish_as(store: OutputStore, readings: Mapping[str, Reading]) -> None:
    publish(store, readings, everything(store))


def test_values_stand_beside_the_answers(store: OutputStore) -> None:
    commit(store, ["1.234,50 €", "100,00 €", "n.a.", "99 kr"])
    publish_as(store, {"a": MONEY})
    euros = '{"amount": "1234.50", "currency": "EUR"}'
    found = rows(store, "a", "answer", "status", "value", "value_number", "value_currency", "review_reasons")
    assert found == [
        ("1.234,50 €", "answered", euros, Decimal("1234.5"), "EUR", []),
        ("100,00 €", "answered", '{"amount": "100.00", "currency": "EUR"}', Decimal(100), "EUR", []),
        ("n.a.", "needs_review", None, None, None, ["value"]),
        ("99 kr", "needs_review", '{"amount": "99", "currency": null}', Decimal(99), None, ["value"]),
    ]
    assert [text for (text,) in rows(store, "b", "value_text")] == ["1.234,50 €", "100,00 €", "n.a.", "99 kr"]
    assert "expected one amount of money" in rows(store, "a", "value_error")[2][0]


def test_a_question_may_get_another_type_at_any_time(store: OutputStore) -> None:
    commit(store, ["03/04/2024", "18.05.2024"])
    publish_as(store, {"a": Reading(), "b": Reading()})
    parts = {path: path.stat().st_mtime_ns for path in Path(store.folder.root, "parts").iterdir()}
    names = ("status", "value_date", "review_reasons")
    publish_as(store, {"a": Reading("date"), "b": Reading()})
    assert rows(store, "a", *names) == [
        ("needs_review", None, ["value"]),
        ("answered", datetime.date(2024, 5, 18), []),
    ]
    publish_as(store, {"a": Reading("date", "en_US"), "b": Reading()})
    assert rows(store, "a", *names)[0] == ("answered", datetime.date(2024, 3, 4), [])
    publish_as(store, {"a": Reading("date", "en_GB", aggregate="max"), "b": Reading()})
    assert rows(store, "a", *names)[0] == ("answered", datetime.date(2024, 4, 3), [])
    (latest,) = (
        row for row in pq.read_table(f"{store.folder.root}/documents").to_pylist() if row["question_id"] == "a"
    )
    assert (latest["value_date"], latest["answer"]) == (datetime.date(2024, 5, 18), "18.05.2024")
    publish_as(store, {"a": Reading(), "b": Reading()})
    assert rows(store, "a", *names) == [("answered", None, [])] * 2
    assert rows(store, "b", "value_text") == [("03/04/2024",), ("18.05.2024",)]
    assert {path: path.stat().st_mtime_ns for path in Path(store.folder.root, "parts").iterdir()} == parts


def test_a_question_that_is_not_asked_any_more_keeps_its_values(store: OutputStore) -> None:
    commit(store, ["1.234,50 €"])
    publish_as(store, {"a": MONEY, "b": Reading()})
    publish_as(store, {"b": MONEY})
    assert rows(store, "a", "value_number") == rows(store, "b", "value_number") == [(Decimal("1234.5"),)]
    publish_as(store, {"a": Reading()})
    assert rows(store, "a", "value_number") == [(None,)]


def test_files_are_written_again_only_when_an_answer_is_read_otherwise(store: OutputStore) -> None:
    commit(store, ["1.234,50 €"])
    publish_as(store, {"a": MONEY})
    (file,) = Path(store.folder.root, "answers").iterdir()
    before = file.stat().st_mtime_ns
    publish_as(store, {"a": dataclasses.replace(MONEY, aggregate="best"), "c": Reading("date")})
    assert file.stat().st_mtime_ns == before


def test_other_reasons_for_review_stay(store: OutputStore) -> None:
    commit(store, ["1.234,50 €", "many"], reasons=("floor", "page"))
    publish_as(store, {"a": MONEY})
    assert rows(store, "a", "status", "review_reasons") == [
        ("needs_review", ["floor", "page"]),
        ("needs_review", ["floor", "page", "value"]),
    ]
    publish_as(store, {"a": Reading()})
    assert rows(store, "a", "status", "review_reasons") == [("needs_review", ["floor", "page"])] * 2


def test_sums_are_in_one_currency(store: OutputStore) -> None:
    commit(store, ["1.234,50 €", "0,50 EUR"])
    publish_as(store, {"a": MONEY, "b": MONEY})
    (total,) = (row for row in pq.read_table(f"{store.folder.root}/documents").to_pylist() if row["question_id"] == "a")
    assert (total["status"], total["answer"], total["value_number"]) == ("answered", "1235 EUR", Decimal(1235))


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("1.23456789012", Decimal("1.2345678901")),
        ("9" * 28, Decimal("9" * 28)),
        ("9" * 29, None),
        ("0." + "0" * 40 + "1", Decimal(0)),
    ],
)
def test_numbers_that_do_not_fit_the_column_stand_in_the_value(store: OutputStore, answer: str, number: Any) -> None:
    commit(store, [answer])
    publish_as(store, {"a": Reading("number", "en_US")})
    assert rows(store, "a", "value", "value_number") == [(answer, number)]


def test_rows_without_an_answer_have_no_value() -> None:
    import pyarrow as pa

    table = pa.table(
        {"question_id": ["a"] * 3, "answer": [None, "n/a", "x"], "status": ["failed", "not_answerable", "answered"],
         "review_reasons": pa.array([None, [], []], pa.list_(pa.string()))}
    )  # fmt: skip
    made = with_values(table, {"a": Reading("date")}).to_pylist()
    assert [row["status"] for row in made] == ["failed", "not_answerable", "needs_review"]
    assert [row["value_error"] is None for row in made] == [True, True, False]
