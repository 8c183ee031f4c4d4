"""Answers about several pages together in the tables, exports and corrections."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest

from pipeline.output.asked import Asked
from pipeline.output.corrections import take_corrections
from pipeline.output.export.write import write_export, write_review_sheet
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.output.totals import read_totals
from tests.support.bundles import result_of, units_and_bundles
from tests.support.calibrations import believing
from tests.support.exported import asked_of, publish_again
from tests.support.published import everything, tables

ASKED = """
version: 1
questions:
  - {id: each, text: "What?", pages: "2"}
  - {id: both, text: "What is on both?", pages: "1+2"}
  - {id: ends, text: "What is on the ends?", pages: "1+-1"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A document of three pages, of which the third is read only together with the first, and one of a single page."""
    store = OutputStore(Folder(str(tmp_path / "out")))
    for bundle in units_and_bundles([3, 1], asked_of(ASKED))[1]:
        store.commit(result_of(bundle))
    publish_again(store.folder, asked_of(ASKED))
    return store.folder


def exported(folder: Folder, to: Path, kind: str, level: str | None = None) -> list[dict[str, Any]]:
    write_export(folder, to, kind, level)  # type: ignore[arg-type]
    return [json.loads(line) for line in to.read_text(encoding="utf-8").splitlines()]


def test_every_page_is_in_the_table_of_pages_with_the_figures_of_all_its_answers(folder: Folder) -> None:
    found = tables(folder.uri)
    kept = {row["question_id"]: row["retention"] for row in found["answers"] if row["document"].endswith("d0000.pdf")}
    pages = [row for row in found["pages"] if row["document"].endswith("d0000.pdf")]
    assert [(row["page"], row["is_current"]) for row in pages] == [(1, True), (2, True), (3, True)]
    assert [(row["retention_min"], row["retention_max"]) for row in pages] == [
        (min(kept["both"], kept["ends"]), max(kept["both"], kept["ends"])),
        (min(kept["both"], kept["each"]), max(kept["both"], kept["each"])),
        (kept["ends"], kept["ends"]),
    ]
    totals = read_totals(folder)
    assert totals.visual_tokens == 1836 * len(found["answers"])
    assert (totals.skipped_questions, totals.skipped_pages) == (0, 0)


def test_a_page_that_was_read_with_another_is_no_skipped_one(folder: Folder, tmp_path: Path) -> None:
    for name in folder.names("answers", ".parquet"):
        path = Path(folder.uri, name)
        file = pq.read_table(path)
        rows = file.to_pylist()
        for row in rows:
            if row["question_id"] == "each":
                row["status"] = "skipped"
        pq.write_table(type(file).from_pylist(rows, schema=file.schema), path)
    totals = read_totals(folder)
    assert (totals.skipped_questions, totals.skipped_pages) == (1, 0)


def test_sheets_name_the_pages_and_the_page_of_the_box(folder: Folder, tmp_path: Path) -> None:
    write_export(folder, tmp_path / "a.csv", "csv", "documents")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text(encoding="utf-8-sig"), newline="")))
    assert [(row["question"], row["page"], row["box"]) for row in rows] == [
        ("each", "", ""),
        ("both", "1+2", "p2 0.0 1.5 20.2 30.0"),
        ("ends", "1+3", "p3 0.0 1.5 20.2 30.0"),
        ("both", "1", "0.0 1.5 20.2 30.0"),
        ("ends", "1", "0.0 1.5 20.2 30.0"),
    ]
    write_export(folder, tmp_path / "a.xlsx", "xlsx", "pages")
    cells = [row[1].value for row in openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0].iter_rows(min_row=2)]
    assert cells == ["1+2", "1+3", 2, 1, 1]


def test_programs_get_lists(folder: Folder, tmp_path: Path) -> None:
    rows = exported(folder, tmp_path / "a.jsonl", "jsonl", "pages")
    assert [(row["question"], row["page"], row["pages"]) for row in rows] == [
        ("both", 1, [1, 2]),
        ("ends", 1, [1, 3]),
        ("each", 2, [2]),
        ("both", 1, [1]),
        ("ends", 1, [1]),
    ]
    first, second = exported(folder, tmp_path / "a.records", "records")
    size, box = {"width": 595.0, "height": 842.0}, {"x": 0.0, "y": 1.5, "w": 20.25, "h": 28.5}
    for record, page in ((first, 3), (second, 1)):
        found = record["extraction_metadata"]["field_metadata"]["ends"]["citation"]
        assert found == [{"page": page, "matching_text": None, "bounding_boxes": [box], "page_dimensions": size}]


def test_answers_about_several_pages_have_no_confidence_and_need_no_review_for_it(folder: Folder) -> None:
    store, told = OutputStore(folder), Asked(asked=asked_of(ASKED))
    publish(store, told.readings, everything(store), believing())
    rows = pq.read_table(f"{folder.root}/answers").to_pylist()
    together = [row for row in rows if len(row["pages"]) > 1]
    assert together
    assert all(row["confidence"] is None and "confidence" not in row["review_reasons"] for row in together)


def test_a_correction_finds_its_answer(folder: Folder, tmp_path: Path) -> None:
    store, asked = OutputStore(folder), asked_of(ASKED)
    told = Asked(asked=asked, review_below=0.9)
    publish(store, told.readings, everything(store), believing())
    write_review_sheet(folder, tmp_path / "sheet.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "sheet.csv").read_text(encoding="utf-8-sig"), newline="")))
    together = [row for row in rows if "+" in row["page"]]
    assert [(row["question"], row["page"], row["confidence"]) for row in together] == [
        ("both", "1+2", ""),
        ("ends", "1+3", ""),
    ]
    assert all("confidence" in row["review_reasons"] for row in together)
    with (tmp_path / "sheet.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "reviewed_answer": "seven"} for row in together)
    assert take_corrections(folder, tmp_path / "sheet.csv", "ada").added == 2
    found = {row["question"]: row for row in exported(folder, tmp_path / "r.jsonl", "jsonl")[:3]}
    assert (found["both"]["answer"], found["both"]["pages"], found["both"]["reviewed"]) == ("seven", [1, 2], True)
