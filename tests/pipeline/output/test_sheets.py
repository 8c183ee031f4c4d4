"""Sheets are read as spreadsheets leave them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from pipeline.errors import UsageError
from pipeline.output.sheets import read_sheet

NEEDED = ("row", "reviewed_answer")


def read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return list(read_sheet(path, NEEDED))


def written(tmp_path: Path, data: bytes | str) -> Path:
    file = tmp_path / "sheet.csv"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


@pytest.mark.parametrize(
    "data",
    [
        "row,reviewed_answer\np1-a,Größe\n",
        "\ufeffrow,reviewed_answer\r\np1-a,Größe\r\n",
        "row;reviewed_answer\r\np1-a;Größe\r\n",
        "sep=;\r\nrow;reviewed_answer\r\np1-a;Größe\r\n",
        '"Row"\t"Reviewed_Answer "\np1-a\tGröße\n',
        "\ufeffrow\treviewed_answer\r\np1-a\tGröße\r\n".encode("utf-16-le"),
        '\n\nrow,reviewed_answer\n"p1-a","Größe"',
        "\r\nrow;reviewed_answer\r\np1-a;Größe\r\n",
        ";;\r\nrow;reviewed_answer;\r\np1-a;Größe;;;\r\n",
        '"sep=;"\r\nrow;reviewed_answer\r\np1-a;Größe\r\n',
        '\n"sep=;";;\nrow;reviewed_answer\np1-a;Größe\n',
    ],
)
def test_whatever_separates_the_cells(tmp_path: Path, data: bytes | str) -> None:
    ((_, cells),) = read(written(tmp_path, data))
    assert cells == {"row": "p1-a", "reviewed_answer": "Größe"}


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    text = 'my notes;reviewed_answer;row;\n;"two\nlines";p1-a;\n;;;\n;x;p2-a\n'
    assert read(written(tmp_path, text)) == [
        (2, {"my notes": "", "reviewed_answer": "two\nlines", "row": "p1-a"}),
        (5, {"my notes": "", "reviewed_answer": "x", "row": "p2-a"}),
    ]
    (line,) = [line for line, _ in read(written(tmp_path, "sep=,\nrow,reviewed_answer\na,b\n"))]
    assert line == 3


def test_workbooks_keep_what_is_no_text(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["reviewed_answer", "row"])
    values = [1903.88, 12, True, datetime.datetime(2024, 5, 18), "00123", None]
    for number, value in enumerate(values):
        sheet.append([value, f"p{number}-a"])
    book.save(tmp_path / "sheet.xlsx")
    found = read(tmp_path / "sheet.xlsx")
    assert [cells["reviewed_answer"] for _, cells in found] == [
        *values[:3],
        datetime.date(2024, 5, 18),
        "00123",
        None,
    ]
    assert [line for line, _ in found] == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "expected a sheet with the columns row, reviewed_answer, found no rows"),
        (
            "row,answer\nx,y\n",
            "expected the columns row, reviewed_answer, found row, answer; leave its first row as it was",
        ),
        ("row,row,reviewed_answer\n", "expected one column row, found 2; take one out"),
        (
            b"row,reviewed_answer\nx,Gr\xf6\xdfe",
            "line 2 is not in UTF-8; save it as CSV UTF-8, or as xlsx",
        ),
        (b"PK\x03\x04nothing", "is no xlsx workbook"),
        (
            "row,reviewed_answer\np1-a,2\np2-a,1,903.88\n",
            "line 3: expected at most 2 cells, as the first row has, found 3; put an answer that holds the separator",
        ),
        ('row,reviewed_answer\np1-a,2\np2-a,"3\np3-a,4\n', "line 3 is no CSV: unexpected end of data"),
        ('row,reviewed_answer\np1-a,"3\np2-a,"4"\n', "line 2 is no CSV: ',' expected after '\"'"),
        ("row,reviewed_answer\np1-a,2\np2-a,3\0\n", "line 3 holds a NUL character"),
        ("row,reviewed_answer\np1-a,2\n".encode("utf-16-le"), "is in UTF-16 without a byte order mark"),
        ("row,reviewed_answer\np1-a,ö\n".encode("utf-16-be"), "is in UTF-16 without a byte order mark"),
        ("row,reviewed_answer\np1-a,2".encode("utf-16")[:-1], "line 2 is not in UTF-16"),
        ("row,reviewed_answer\n" + "x" * 200_000, "line 2 is no CSV: field larger than field limit"),
    ],
)
def test_what_is_no_sheet(tmp_path: Path, data: bytes | str, reason: str) -> None:
    import csv

    csv.field_size_limit(131_072)
    with pytest.raises(UsageError) as caught:
        read(written(tmp_path, data))
    assert reason in str(caught.value)


def test_a_sheet_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: .*; name a sheet that docpipe export --review wrote"):
        read(tmp_path / "none.csv")
