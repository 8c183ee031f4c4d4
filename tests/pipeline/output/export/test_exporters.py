"""Each format says what is current, in a form that other programs read, and never as something to run."""

from __future__ import annotations

import csv
import errno
import io
import json
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pandas
import pytest

from pipeline.errors import UsageError
from pipeline.output.export.registry import find_exporter, formats, register_exporter
from pipeline.output.export.write import write_export
from pipeline.output.folder import Folder
from pipeline.questions.file import Place
from tests.support.exported import asked_of, output_folder

TOTALS = [["$1,903.88", "-12.50 EUR"], ["=1+1?"]]
DATES = [["2024-05-18", None], ["soon"]]
NAMES = ("document", "page", "question", "status", "answer", "value", "currency", "confidence")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return output_folder(tmp_path / "out", {"total": TOTALS, "date": DATES})


def export(folder: Folder, to: Path, form: str | None = None, level: str | None = None) -> str:
    return "\n".join(write_export(folder, to, form, level))


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_formats_are_the_modules_and_what_is_registered() -> None:
    assert formats() == ["csv", "docvqa", "jsonl", "records", "xlsx"]
    with pytest.raises(UsageError, match="--format parquet: expected one of csv, docvqa, jsonl, records, xlsx"):
        find_exporter("parquet")


def test_an_exporter_outside_of_the_package(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.output.export.registry._registered", {})
    register_exporter("names", "tests.support.toy_exporter")
    told = export(folder, tmp_path / "x.names")
    assert told.splitlines() == [f"4 rows of current answers in {tmp_path}/x.names, one per document and question"] + [
        "these are names only"
    ]
    assert (tmp_path / "x.names").read_text().split() == ["docs/d0000.pdf"] * 2 + ["docs/d0001.pdf"] * 2


def test_csv_of_pages(folder: Folder, tmp_path: Path) -> None:
    told = export(folder, tmp_path / "a.csv", level="pages")
    assert told == f"6 rows of current answers in {tmp_path}/a.csv, one per page and question"
    rows = read_csv(tmp_path / "a.csv")
    assert [tuple(row[name] for name in NAMES[:7]) for row in rows] == [
        ("docs/d0000.pdf", "1", "total", "answered", "$1,903.88", "1903.88", "USD"),
        ("docs/d0000.pdf", "1", "date", "answered", "2024-05-18", "2024-05-18", ""),
        ("docs/d0000.pdf", "2", "total", "answered", "'-12.50 EUR", "-12.50", "EUR"),
        ("docs/d0000.pdf", "2", "date", "not_answerable", "n/a", "", ""),
        ("docs/d0001.pdf", "1", "total", "needs_review", "'=1+1", "", ""),
        ("docs/d0001.pdf", "1", "date", "needs_review", "soon", "", ""),
    ]
    assert [row["review_reasons"] for row in rows[-2:]] == ["floor, value", "value"]
    assert rows[0]["box"] == "0.0 1.5 20.2 30.0"
    assert {row["reviewed"] for row in rows} == {"false"}
    assert "chosen_by" not in rows[0]


def test_csv_of_documents_is_the_default(folder: Folder, tmp_path: Path) -> None:
    export(folder, tmp_path / "a.csv")
    rows = read_csv(tmp_path / "a.csv")
    assert [(row["document"], row["question"], row["page"], row["value"]) for row in rows] == [
        ("docs/d0000.pdf", "total", "1", "1903.88"),
        ("docs/d0000.pdf", "date", "1", "2024-05-18"),
        ("docs/d0001.pdf", "total", "1", ""),
        ("docs/d0001.pdf", "date", "1", ""),
    ]
    assert rows[0]["chosen_by"] == "most confident of 2 answers"
    assert rows[2]["review_reasons"] == "floor, value"


def test_csv_is_read_by_others(folder: Folder, tmp_path: Path) -> None:
    export(folder, tmp_path / "a.csv")
    assert list(pandas.read_csv(tmp_path / "a.csv").columns)[:3] == ["document", "page", "question"]
    (count,) = duckdb.sql(f"select count(document) from read_csv('{tmp_path}/a.csv')").fetchall()
    assert count == (4,)
    assert (tmp_path / "a.csv").read_bytes().count(b"\r\n") == 5


HOSTILE = [
    "=cmd|'/c calc'!A1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    'a,"b";c',
    "line\r\nend",
    "\x00\x07bell\ufffe",
    "plain",
    "'=1",
]


@pytest.fixture
def hostile(tmp_path: Path) -> Folder:
    asked = asked_of("version: 1\nquestions: [{id: a, text: A}]")
    return output_folder(tmp_path / "hostile", {"a": [HOSTILE]}, asked)


def test_csv_holds_nothing_to_run(hostile: Folder, tmp_path: Path) -> None:
    export(hostile, tmp_path / "a.csv", level="pages")
    found = [row["answer"] for row in read_csv(tmp_path / "a.csv")]
    assert found == [f"'{text}" for text in HOSTILE[:8]] + HOSTILE[8:]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in found)


def test_xlsx_holds_text_that_is_no_formula(hostile: Folder, tmp_path: Path) -> None:
    export(hostile, tmp_path / "a.xlsx", level="pages")
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0]
    cells = [row[4] for row in sheet.iter_rows(min_row=2)]
    no_xml = {5: "\n=1", 9: "line\nend", 10: "\ufffd\ufffdbell\ufffd"}
    assert [cell.value for cell in cells] == [no_xml.get(place, text) for place, text in enumerate(HOSTILE)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert [bool(cell.quotePrefix) for cell in cells] == [True] * 8 + [False] * 5
    assert b"<f>" not in zipfile.ZipFile(tmp_path / "a.xlsx").read("xl/worksheets/sheet1.xml")


def test_xlsx_says_what_it_cuts_off(tmp_path: Path) -> None:
    asked = asked_of("version: 1\nquestions: [{id: a, text: A}]")
    long = "x" * 40_000
    folder = output_folder(tmp_path / "out", {"a": [["\N{GRINNING FACE}" * 20_000, long, "y" * 32_767]]}, asked)
    told = export(folder, tmp_path / "a.xlsx", level="pages")
    assert "4 texts were cut off at 32,767 characters, the most of a cell; first in row 2, column answer" in told
    rows = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0].iter_rows(min_row=2, values_only=True)
    assert [len(str(row[4])) for row in rows] == [16_383, 32_767, 32_767]
    export(folder, tmp_path / "a.csv", level="pages")
    csv.field_size_limit(200_000)
    assert read_csv(tmp_path / "a.csv")[1]["answer"] == long


def test_jsonl_has_values_and_all_evidence(folder: Folder, tmp_path: Path) -> None:
    export(folder, tmp_path / "a.jsonl", level="pages")
    first, *_, last = read_lines(tmp_path / "a.jsonl")
    assert first["value"] == {"amount": "1903.88", "currency": "USD"}
    assert first["evidence"] == [{"x0": 0.0, "y0": 1.5, "x1": 20.25, "y1": 30.0, "score": 2.5, "page": 1}]
    assert (first["reviewed"], first["review_reasons"]) == (False, [])
    assert (last["value"], last["review_reasons"]) == (None, ["value"])
    assert "soon" in last["value_error"]


def test_records_have_the_shape_of_the_schema(tmp_path: Path) -> None:
    asked = asked_of().model_copy(
        update={
            "places": {
                "total": Place(path=("amounts", "Total"), kind="number"),
                "date": Place(path=("issued",), kind="string"),
            }
        }
    )
    folder = output_folder(tmp_path / "out", {"total": TOTALS, "date": DATES}, asked)
    export(folder, tmp_path / "a.json", "records")
    one, two = read_lines(tmp_path / "a.json")
    assert one["data"] == {"amounts": {"Total": 1903.88}, "issued": "2024-05-18"}
    assert (one["document"], one["source"]) == ("docs/d0000.pdf", "")
    cited = one["extraction_metadata"]["field_metadata"]
    assert cited["amounts"]["Total"]["citation"] == [
        {
            "page": 1,
            "matching_text": None,
            "bounding_boxes": [{"x": 0.0, "y": 1.5, "w": 20.25, "h": 28.5}],
            "page_dimensions": {"width": 595.0, "height": 842.0},
        }
    ]
    assert (cited["issued"]["status"], cited["amounts"]["Total"]["currency"]) == ("answered", "USD")
    assert two["data"] == {"amounts": {"Total": None}, "issued": None}
    assert two["extraction_metadata"]["field_metadata"]["issued"]["status"] == "needs_review"


def test_records_without_a_schema_are_flat_and_hold_money_whole(folder: Folder, tmp_path: Path) -> None:
    export(folder, tmp_path / "a.json", "records")
    assert read_lines(tmp_path / "a.json")[0]["data"] == {
        "total": {"amount": "1903.88", "currency": "USD"},
        "date": "2024-05-18",
    }
    with pytest.raises(UsageError, match="--level pages: records takes documents"):
        export(folder, tmp_path / "b.json", "records", "pages")


def test_docvqa_names_answers_by_question(folder: Folder, tmp_path: Path) -> None:
    export(folder, tmp_path / "a.json", "docvqa")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == [
        {"questionId": "docs/d0000.pdf#total", "answer": "$1,903.88"},
        {"questionId": "docs/d0000.pdf#date", "answer": "2024-05-18"},
        {"questionId": "docs/d0001.pdf#total", "answer": "=1+1"},
        {"questionId": "docs/d0001.pdf#date", "answer": "soon"},
    ]


def test_docvqa_takes_the_numbers_of_a_data_set(tmp_path: Path) -> None:
    one = asked_of('version: 1\nquestions: [{id: "49153", text: A, documents: docs/d0000.pdf}, {id: b, text: B}]')
    folder = output_folder(tmp_path / "out", {"49153": [["x"], []], "b": [[None], ["y"]]}, one)
    export(folder, tmp_path / "a.json", "docvqa")
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert {"questionId": 49153, "answer": "x"} in found
    assert {"questionId": "docs/d0000.pdf#b", "answer": ""} in found
    both = asked_of('version: 1\nquestions: [{id: "7", text: A}]')
    folder = output_folder(tmp_path / "two", {"7": [["x"], ["y"]]}, both)
    with pytest.raises(UsageError, match="question 7 is asked of several documents"):
        export(folder, tmp_path / "b.json", "docvqa")
    assert not (tmp_path / "b.json").exists()


def test_rows_that_are_not_current_are_left_out(tmp_path: Path) -> None:
    from pipeline.output.current import Plan
    from pipeline.records import Unit
    from tests.support.exported import publish_again

    folder = output_folder(tmp_path / "out", {"total": TOTALS, "date": DATES})
    kept = Plan.of([Unit(unit_id, "", "", ()) for unit_id in _units_of(folder, "total")], [])
    publish_again(folder, asked_of(), kept)
    for level, count in (("documents", 2), ("pages", 3)):
        export(folder, tmp_path / "a.csv", level=level)
        assert [row["question"] for row in read_csv(tmp_path / "a.csv")] == ["total"] * count


def _units_of(folder: Folder, question: str) -> set[str]:
    import pyarrow.parquet as pq

    rows = pq.read_table(f"{folder.root}/answers").to_pylist()
    return {row["unit_id"] for row in rows if row["question_id"] == question}


def test_rows_come_in_the_same_order_however_many_are_read_at_a_time(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(folder, tmp_path / "one.csv", level="pages")
    monkeypatch.setattr("pipeline.output.export.rows.ROWS_AT_A_TIME", 1)
    export(folder, tmp_path / "many.csv", level="pages")
    one, many = read_csv(tmp_path / "one.csv"), read_csv(tmp_path / "many.csv")
    assert one == many
    export(folder, tmp_path / "records.jsonl", "records")
    assert len(read_lines(tmp_path / "records.jsonl")) == 2


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("a.txt", "the format does not follow from its ending; add --format csv|docvqa|jsonl|records|xlsx"),
        ("nowhere/a.csv", "nowhere/a.csv: the folder .*/nowhere does not exist; make it first, or choose another"),
        ("/dev/full", "expected a file or a new name, found a folder, device or pipe"),
        ("sub.csv", "expected a file or a new name, found a folder, device or pipe"),
        ("out/answers/a.csv", "is inside a folder of .*/out that holds tables only"),
    ],
)
def test_places_that_cannot_be_written(folder: Folder, tmp_path: Path, to: str, reason: str) -> None:
    (tmp_path / "sub.csv").mkdir()
    with pytest.raises(UsageError, match=reason):
        export(folder, tmp_path / to, "csv" if to == "/dev/full" else None)
    assert not list(tmp_path.glob("**/.*.tmp"))


def test_a_failed_write_names_the_file_that_was_wanted(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: object, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("os.replace", refused)
    with pytest.raises(UsageError) as told:
        export(folder, tmp_path / "a.csv")
    assert f"cannot write {tmp_path}/a.csv: [Errno 13] Permission denied; " in str(told.value)


def test_a_file_is_replaced_whole(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("before")

    def failing(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.output.export.csv._text", failing)
    with pytest.raises(KeyboardInterrupt):
        export(folder, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.csv"]


def test_folders_that_hold_no_answers(folder: Folder, tmp_path: Path) -> None:
    other = Folder(str(tmp_path / "other"))
    with pytest.raises(UsageError, match=r"expected the --output of a run, found no answers/\*\.parquet in it"):
        export(other, tmp_path / "a.csv")
    questions = Path(folder.root, "questions.json")
    questions.write_text('{"asked": 3}')
    with pytest.raises(UsageError, match=r"questions\.json is damaged: .*; run the command of that folder again"):
        export(folder, tmp_path / "a.csv")
    questions.unlink()
    with pytest.raises(UsageError, match=r"expected .*/questions\.json, found nothing; name the --output of a run"):
        export(folder, tmp_path / "a.csv")


def test_folders_of_another_version_are_told(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.output.tables.SCHEMA_VERSION", 99)
    with pytest.raises(UsageError, match="made by another version of docpipe .* read it with that version"):
        export(folder, tmp_path / "a.csv")


def test_decimals_are_written_as_they_are(tmp_path: Path) -> None:
    asked = asked_of("version: 1\nquestions: [{id: a, text: A, type: number, locale: en_US}]")
    texts: list[str | None] = ["0.1", "1234567890.123456789", "-0.00"]
    export(output_folder(tmp_path / "out", {"a": [texts]}, asked), tmp_path / "a.csv", level="pages")
    assert [Decimal(row["value"]) for row in read_csv(tmp_path / "a.csv")] == [Decimal(str(text)) for text in texts]
