from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.viewing.published import Published, read_published
from pipeline.viewing.report.compare import compare
from pipeline.viewing.report.table import table_data, value_words
from tests.support.viewed import answer, failure, write_output


def run_of(path: Path, *rows: dict[str, Any], **given: Any) -> Published:
    return read_published(write_output(path, rows, **given))


def test_each_row_is_told_by_column(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        answer(value='{"amount":"1903.88","currency":"EUR"}', confidence=0.123456),
        answer(question_id="date", answer=None, status="failed", unit_id="f", confidence=None, retention=None),
        answer(
            document="b.pdf",
            answer="12",
            value="12",
            status="needs_review",
            review_reasons=["floor", "value"],
            other_answers=[{"answer": "72", "confidence_raw": 0.5, "look": 2}],
        ),
        failures=[failure(unit_id="f")],
    )
    data = table_data(run, run.answers, None)
    columns = data["columns"]
    assert [data["documents"][number] for number in columns["document"]] == ["a.pdf", "a.pdf", "b.pdf"]
    assert [data["questions"][number]["id"] for number in columns["question"]] == ["total", "date", "total"]
    assert [data["statuses"][number] for number in columns["status"]] == ["answered", "failed", "needs_review"]
    assert (columns["answer"], columns["confidence"]) == (["1903.88", None, "12"], [0.1235, None, 0.9])
    assert (columns["kept"], columns["ms"]) == ([0.1, None, 0.1], [50, 50, 50])
    assert data["values"] == {0: "1903.88 EUR"}
    assert data["otherwise"] == {2: "72"}
    assert [data["errors"][number] for number in data["notes"].values()] == ["EncryptedDocument: it needs a password"]
    assert len(data["reasons"][columns["reasons"][2]]) == 2
    assert "change" not in columns


def test_pages_together_are_named_as_the_questions_file_does(tmp_path: Path) -> None:
    run = run_of(tmp_path, answer(), answer(question_id="date", pages=[1, 3]))
    data = table_data(run, run.answers, None)
    assert (data["columns"]["page"], data["together"]) == ([1, 1], {1: "1+3"})


def test_long_answers_are_cut_and_say_so(tmp_path: Path) -> None:
    run = run_of(tmp_path, answer(answer="x" * 1_000_000), answer(answer="a\x00b\u202ec"))
    long, odd = table_data(run, run.answers, None)["columns"]["answer"]
    assert long == "x" * 400 + "\N{HORIZONTAL ELLIPSIS} (1,000,000 characters in all)"
    assert odd == "a\N{REPLACEMENT CHARACTER}b\u202ec"


def test_rows_of_the_older_run_that_are_gone_come_last(tmp_path: Path) -> None:
    new = run_of(tmp_path / "new", answer(answer="2"), answer(page=2))
    old = run_of(tmp_path / "old", answer(), answer(question_id="gone", document="z.pdf", confidence=0.5))
    data = table_data(new, new.answers, compare(new.answers, old.answers))
    columns = data["columns"]
    assert [data["kinds"][number] for number in columns["change"]] == ["answer", "new", "gone"]
    assert data["before"] == {0: {"status": "answered", "answer": "1903.88"}}
    assert {
        name: column[2] for name, column in columns.items() if name in ("confidence", "kept", "ms")
    } == dict.fromkeys(("confidence", "kept", "ms"))
    assert data["documents"][columns["document"][2]] == "z.pdf"
    assert data["questions"][columns["question"][2]] == {"id": "gone", "text": ""}
    assert len({len(column) for column in columns.values()}) == 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, None),
        ("12.5", "12.5"),
        ('"text"', "text"),
        ("true", "yes"),
        ('{"amount":"1.00","currency":null}', "1.00"),
        ('[{"amount":"1.00","currency":"EUR"},"b"]', "1.00 EUR; b"),
    ],
)
def test_values_in_words(value: str | None, words: str | None) -> None:
    assert value_words(value) == words
