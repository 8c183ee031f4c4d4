"""A workbook holds values as what they are, and says where it has no room."""

from __future__ import annotations

import contextlib
import datetime
import gc
import resource
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from pipeline.errors import UsageError
from pipeline.output.export.columns import sheet_columns
from pipeline.output.export.write import write_export
from pipeline.output.export.xlsx import write
from tests.support.exported import asked_of, output_folder


def test_xlsx_has_numbers_dates_and_truth_values(tmp_path: Path) -> None:
    asked = asked_of(
        """
        version: 1
        defaults: {locale: en_US}
        questions:
          - {id: n, text: N, type: number}
          - {id: d, text: D, type: date}
          - {id: b, text: B, type: boolean}
          - {id: i, text: I, type: iban}
          - {id: l, text: L, type: list, items: integer}
        """.replace("\n        ", "\n")
    )
    numbers: list[str | None] = ["-12.5", "12345678901234567890", "0.12345678901234567"]
    answers: dict[str, list[list[str | None]]] = {
        "n": [numbers],
        "d": [["2024-05-18", "1850-01-02", None]],
        "b": [["yes", "no", None]],
        "i": [["DE89370400440532013000", None, None]],
        "l": [["1, 2", None, None]],
    }
    folder = output_folder(tmp_path / "out", answers, asked)
    write_export(folder, tmp_path / "a.xlsx", None, "pages")
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0]
    found: dict[str, list[Any]] = {}
    for row in sheet.iter_rows(min_row=2, values_only=True):
        found.setdefault(str(row[2]), []).append(row[5])
    assert found["n"] == [-12.5, "12345678901234567890", "0.12345678901234567"]
    assert found["d"] == [datetime.datetime(2024, 5, 18), "1850-01-02", None]
    assert (found["b"][:2], found["i"][0], found["l"][0]) == ([True, False], "DE89370400440532013000", "[1, 2]")


def test_xlsx_refuses_more_rows_than_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = output_folder(tmp_path / "out", {"total": [["$1,903.88"]], "date": [[None]]})
    monkeypatch.setattr("pipeline.output.export.write.count_rows", lambda *_: 1_048_576)
    with pytest.raises(
        UsageError, match="xlsx holds 1,048,575 rows below its head, found 1,048,576; take csv or jsonl"
    ):
        write_export(folder, tmp_path / "a.xlsx", None, None)
    assert not (tmp_path / "a.xlsx").exists()


def test_a_full_disk_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))  # bytes, enough for the sheet and not for the workbook
    try:
        with contextlib.suppress(OSError):
            write(tmp_path / "a.xlsx", [], sheet_columns("documents"))
        gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "a.xlsx").stat().st_size == 4000
    assert unraisable == []
