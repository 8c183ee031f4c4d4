"""A review sheet of results that need review, though no answer on their pages does."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from pipeline.datasets.corrections import load_corrections
from pipeline.errors import UsageError
from pipeline.output.corrections import take_corrections
from pipeline.output.export.write import write_review_sheet
from tests.support.exported import asked_of, output_folder
from tests.support.review_sheets import exported, fill_in, sheet_of

SUMS = asked_of(
    "version: 1\ndefaults: {locale: en_US}\nquestions:\n"
    "- {id: total, text: Total, type: money, aggregate: sum}\n- {id: best, text: Best, type: money}\n"
)


def test_the_sheet_ends_with_the_pages_that_a_result_needs_review_for(tmp_path: Path) -> None:
    """A failed page and a lacking currency can be filled in, and the sum is certain then; the best answer was."""
    totals = [["1 EUR", "2?"], ["1 EUR", "2", None], ["1 EUR", "failed"], ["1 EUR", "2 EUR"]]
    folder = output_folder(tmp_path / "out", {"total": totals, "best": totals}, SUMS)
    rows = sheet_of(folder, tmp_path / "sheet.csv")
    named = [(row["document"][-5], row["question"], row["page"], row["review_reasons"]) for row in rows]
    assert sorted(named[:2]) == [("0", "best", "2", "floor"), ("0", "total", "2", "floor")]
    several = "sum: the amounts are in several currencies: EUR, none"
    assert named[2:] == [
        ("0", "total", "1", several),
        ("1", "total", "1", several),
        ("1", "total", "2", several),
        ("2", "total", "2", "sum of 1 answers, 1 page failed"),
    ]
    for row in rows[2:]:
        row["reviewed_answer"] = row["answer"] if row["answer"] == "1 EUR" else "2 EUR"
    fill_in(tmp_path / "sheet.csv", rows)
    assert take_corrections(folder, tmp_path / "sheet.csv", "ada").added == 4
    found = {row["document"][-5]: row for row in exported(folder, tmp_path / "d.jsonl") if row["question"] == "total"}
    assert {name: (row["status"], row["answer"]) for name, row in found.items()} == {
        "0": ("needs_review", None),
        **dict.fromkeys("123", ("answered", "3 EUR")),
    }


def test_results_that_no_page_in_the_sheet_settles_are_told(tmp_path: Path) -> None:
    totals = [["1 EUR", "skipped"], *([["1 EUR", "2 USD"]] * 11)]
    folder = output_folder(tmp_path / "out", {"total": totals, "best": totals}, SUMS)
    path = tmp_path / "sheet.csv"
    first, _, told, result, where = write_review_sheet(folder, path)
    assert first == f"22 answers to review in {path}"
    assert told == "1 result of a document needs review, though no answer on a page does:"
    assert result == "  docs/d0000.pdf, total: sum of 1 answers, 1 page skipped"
    assert "documents/" in where
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    fill_in(path, [{**row, "reviewed_answer": row["answer"]} for row in rows])
    take_corrections(folder, path, "ada")
    lines = write_review_sheet(folder, tmp_path / "again.csv")
    assert lines[0] == f"no answer of a page to review; {tmp_path}/again.csv has no rows"
    assert lines[1] == "12 results of documents need review, though no answer on a page does:"
    assert lines[3] == "  docs/d0001.pdf, total: sum: the amounts are in several currencies: EUR, USD"
    assert (len(lines), lines[-2]) == (14, "  and 2 more")


def test_what_a_person_read_on_a_failed_page_is_no_example_for_a_model(tmp_path: Path) -> None:
    folder = output_folder(tmp_path / "out", {"total": [["1 EUR", "failed"]], "best": [["1 EUR", "1 EUR"]]}, SUMS)
    rows = sheet_of(folder, tmp_path / "sheet.csv")
    fill_in(tmp_path / "sheet.csv", [{**row, "reviewed_answer": "2 EUR"} for row in rows])
    assert take_corrections(folder, tmp_path / "sheet.csv", "ada").added == 1
    with pytest.raises(UsageError, match="expected corrections of answers about single pages, found none"):
        load_corrections(tmp_path / "out", None)
