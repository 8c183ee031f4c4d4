"""Corrections outlive the version and the model that they were made with."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.output.carried_over import take_over
from pipeline.output.corrections import take_corrections
from pipeline.output.export.write import write_review_sheet
from pipeline.output.folder import Folder
from pipeline.output.reviews import read_reviews
from tests.support.exported import asked_of, output_folder

OLD = {"total": [["12?", "$ 7.50?"], ["99 USD?"]], "date": [["soon?", "2024-05-19?"], [None]]}
NEW = {"total": [["13?", "$ 7.50?"], ["98 USD"]], "date": [["later?", "2024-05-19?"], [None]]}
SAID = {"12": "12 USD", "$ 7.50": "$ 7.60", "99 USD": "99 EUR", "soon": "2024-05-18", "2024-05-19": "n/a"}


def sheet(folder: Folder, to: Path) -> Path:
    write_review_sheet(folder, to)
    rows = list(csv.DictReader(io.StringIO(to.read_text(encoding="utf-8-sig"), newline="")))
    with to.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "reviewed_answer": SAID.get(row["answer"], ""), "comment": "c"} for row in rows)
    return to


@pytest.fixture
def old(tmp_path: Path) -> Folder:
    """A folder as an older version left it: no column ``pages``, another number, ids of units that mean nothing now."""
    folder = output_folder(tmp_path / "old", OLD)
    assert take_corrections(folder, sheet(folder, tmp_path / "sheet.csv"), "ada").added == 5
    fields = {"total": "What is the total?", "date": "When?"}
    settings = {f"question {name}": {"identity": "x", "fields": {"text": text}} for name, text in fields.items()}
    folder.write("settings.json", json.dumps({"schema_version": 6, **settings}).encode())
    for path in (tmp_path / "old").rglob("*.parquet"):
        table = pq.read_table(path)
        ids = table.column("unit_id").to_pylist() if "unit_id" in table.column_names else None
        if ids is not None:
            place = table.column_names.index("unit_id")
            table = table.set_column(
                place, table.schema.field("unit_id"), [pa.array([f"old-{one}" for one in ids], pa.string())]
            )
        if "pages" in table.column_names:
            table = table.drop_columns(["pages"])
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"schema_version": b"6"}), path)
    with pytest.raises(UsageError, match="made by another version"):
        read_reviews(folder)
    return folder


def told(folder: Folder) -> list[tuple[object, ...]]:
    names = ("document", "page", "question_id", "answer", "reviewed_answer", "reviewer", "comment")
    rows = [tuple(row[name] for name in names) for row in read_reviews(folder).to_pylist()]
    return sorted(rows, key=str)


def test_corrections_of_an_older_version_find_their_answers(old: Folder, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    new = output_folder(tmp_path / "new", NEW)
    done = take_over(new, old)
    assert (done.added, done.known, dict(done.left)) == (5, 0, {})
    assert told(new) == [
        ("docs/d0000.pdf", 1, "date", "later", "2024-05-18", "ada", "c"),
        ("docs/d0000.pdf", 1, "total", "13", "12 USD", "ada", "c"),
        ("docs/d0000.pdf", 2, "date", "2024-05-19", "n/a", "ada", "c"),
        ("docs/d0000.pdf", 2, "total", "$ 7.50", "$ 7.60", "ada", "c"),
        ("docs/d0001.pdf", 1, "total", "98 USD", "99 EUR", "ada", "c"),
    ]
    again = take_over(new, old)
    assert (again.added, again.known) == (0, 5)
    assert {path: path.read_bytes() for path in before} == before


def test_what_was_corrected_here_stays(old: Folder, tmp_path: Path) -> None:
    new = output_folder(tmp_path / "new", NEW)
    mine = sheet(new, tmp_path / "mine.csv")
    assert take_corrections(new, mine, "bob").added == 2
    done = take_over(new, old)
    assert (done.added, done.known) == (3, 2)
    assert sorted(row[5] for row in told(new)) == ["ada"] * 3 + ["bob"] * 2  # type: ignore[type-var]


def test_what_has_no_place_is_counted_with_its_reason(old: Folder, tmp_path: Path) -> None:
    asked = """
version: 1
defaults: {locale: en_US}
questions:
  - {id: total, text: "What is the sum?", type: money}
  - {id: date, text: "When?", type: money}
"""
    new = output_folder(tmp_path / "new", {"total": [["1", "2"]], "date": [["3", "4"]]}, asked_of(asked))
    done = take_over(new, old)
    assert (done.added, dict(done.left)) == (
        1,  # n/a holds for any type
        {
            "the question is asked in other words": 2,
            "it stands for no value of the question's type": 1,
            "no current answer about that document, page and question": 1,
        },
    )


def test_a_folder_without_corrections_is_refused(tmp_path: Path) -> None:
    new = output_folder(tmp_path / "new", NEW)
    with pytest.raises(UsageError, match="expected the --output of a run with corrections, found none"):
        take_over(new, output_folder(tmp_path / "other", OLD))
    with pytest.raises(UsageError, match="expected the --output of a run, found no answers"):
        take_over(Folder(str(tmp_path / "nothing")), new)


def test_moved_documents_are_known_by_their_content(old: Folder, tmp_path: Path) -> None:
    new = output_folder(tmp_path / "new", NEW)
    for folder in ("old", "new"):
        for path in (tmp_path / folder / "answers").glob("*.parquet"):
            table = pq.read_table(path)
            ids = [one if folder == "old" else one[::-1] for one in table.column("document_id").to_pylist()]
            place = table.column_names.index("document_id")
            pq.write_table(
                table.set_column(place, table.schema.field("document_id"), [pa.array(ids, pa.string())]), path
            )
    done = take_over(new, old)
    assert (done.added, dict(done.left)) == (5, {})
