"""Reads a sheet that a person filled in, CSV or xlsx, as spreadsheets leave them."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from pipeline.errors import UsageError
from pipeline.file_names import printable


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula of a workbook whose result was not saved with it."""

    text: str

    def __str__(self) -> str:
        return self.text


Entry = str | int | float | bool | date | Formula | None
"""Content of a cell: text, or what a workbook holds as something else."""

_SEPARATORS = (",", ";", "\t")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BEFORE_HEAD = re.compile(r"[\s,;\"]*|[\s\"]*sep=.[\s,;\"]*", re.IGNORECASE)
"""Lines that spreadsheets leave before the head: one of empty cells, or one that names the separator."""


def read_sheet(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, Entry]]]:
    """Read the rows of a sheet; columns may stand in any order, and others beside them.

    Args:
        path: the file.
        needed: names of columns that have to be there.

    Yields:
        Line of the row, and its cells by the name of their column. Empty rows are left out.

    Raises:
        UsageError: the file cannot be read, is no sheet, or lacks a column.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{printable(str(path))}: cannot be read: {error}; name a sheet that docpipe export --review wrote"
        ) from error
    is_book = data.startswith(b"PK\x03\x04")
    lines = _workbook(path, data) if is_book else _csv(path, _decoded(path, data), needed)
    head: list[str] | None = None
    for number, cells in lines:
        if all(cell in (None, "") for cell in cells):
            continue
        if head is None:
            head = [str(cell or "").strip().casefold() for cell in cells]
            _check_head(path, head, needed)
            continue
        if not is_book:
            _check_width(path, number, head, cells)
        yield number, {name: cell for name, cell in zip(head, cells, strict=False) if name}
    if head is None:
        raise UsageError(
            f"{printable(str(path))}: expected a sheet with the columns {', '.join(needed)}, found no rows"
        )


def _check_head(path: Path, head: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in head]
    if missing:
        found = ", ".join(filter(None, head))
        wanted = f"expected the columns {', '.join(needed)}, found {found:.200}"
        raise UsageError(f"{printable(str(path))}: {wanted}; leave its first row as it was")
    twice = [name for name in needed if head.count(name) > 1]
    if twice:
        raise UsageError(
            f"{printable(str(path))}: expected one column {twice[0]}, found {head.count(twice[0])}; take one out"
        )


def _check_width(path: Path, number: int, head: Sequence[str], cells: Sequence[Entry]) -> None:
    """Refuse a line with something behind the last column, as a comma inside of an answer leaves it."""
    width = max(place for place, name in enumerate(head, start=1) if name)
    if any(cells[width:]):
        raise UsageError(
            f"{printable(str(path))}: line {number}: expected at most {width} cells, as the first row has, found "
            f"{len(cells)}; put an answer that holds the separator in double quotes"
        )


def _decoded(path: Path, data: bytes) -> str:
    is_wide = data.startswith(_WIDE)
    if not is_wide and data[:2].count(0) == 1:
        raise UsageError(
            f"{printable(str(path))}: is in UTF-16 without a byte order mark; save it as CSV UTF-8, or as xlsx"
        )
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        encoding = "UTF-16, as its beginning says" if is_wide else "UTF-8"
        raise UsageError(
            f"{printable(str(path))}: line {line} is not in {encoding}; save it as CSV UTF-8, or as xlsx"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UsageError(f"{printable(str(path))}: line {line} holds a NUL character; save it as CSV UTF-8, or as xlsx")
    return text


def _csv(path: Path, text: str, needed: Sequence[str]) -> Iterator[tuple[int, Sequence[Entry]]]:
    """Read CSV whose separator is the one by which the needed columns are found."""
    lines = io.StringIO(text, newline="")
    skipped, start = 0, 0
    head = lines.readline()
    while head and _BEFORE_HEAD.fullmatch(head):
        skipped, start = skipped + 1, lines.tell()
        head = lines.readline()
    lines.seek(start)
    counts = {mark: sum(name in _split(head, mark) for name in needed) for mark in _SEPARATORS}
    # Strict, because a quotation mark that nobody closed would take all rows below it into its cell.
    reader = csv.reader(lines, delimiter=max(_SEPARATORS, key=lambda mark: counts[mark]), strict=True)
    begun = skipped + 1
    try:
        for cells in reader:
            yield begun, cells
            begun = skipped + reader.line_num + 1
    except csv.Error as error:
        raise UsageError(
            f"{printable(str(path))}: line {begun} is no CSV: {error}; save it as CSV UTF-8, or as xlsx"
        ) from error


def _split(line: str, separator: str) -> list[str]:
    return [cell.strip().strip('"').casefold() for cell in line.split(separator)]


def _workbook(path: Path, data: bytes) -> Iterator[tuple[int, Sequence[Entry]]]:
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        results, formulas = (_first_sheet(data, data_only=data_only) for data_only in (True, False))
        for number, (found, written) in enumerate(zip(results, formulas, strict=True), start=1):
            yield number, [_entry(result.value, cell) for result, cell in zip(found, written, strict=True)]
    except (zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, IndexError) as error:
        raise UsageError(
            f"{printable(str(path))}: is no xlsx workbook: {error}; save it as xlsx, or as CSV UTF-8"
        ) from error


def _first_sheet(data: bytes, data_only: bool) -> Iterator[Sequence[Any]]:
    """Read the cells of the first sheet, with the results of its formulas or with the formulas."""
    from openpyxl import load_workbook

    sheet: Any = load_workbook(io.BytesIO(data), read_only=True, data_only=data_only).worksheets[0]
    sheet.reset_dimensions()  # which some programs write wrongly
    rows: Iterator[Sequence[Any]] = sheet.iter_rows()
    return rows


def _entry(result: Any, cell: Any) -> Entry:
    if result is None and cell.data_type == "f":
        return Formula(str(getattr(cell.value, "text", cell.value)))  # one of several cells is an object
    return result.date() if isinstance(result, datetime) else result
