"""Reads a sheet that a person filled in, CSV or xlsx, as spreadsheets leave them."""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from pipeline.errors import UsageError
from pipeline.file_names import printable

Entry = str | int | float | bool | date | None
"""Content of a cell: text, or what a workbook holds as something else."""

_SEPARATORS = (",", ";", "\t")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


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
    lines = _workbook(path, data) if data.startswith(b"PK\x03\x04") else _csv(path, _decoded(path, data), needed)
    head: list[str] | None = None
    for number, cells in lines:
        if all(cell in (None, "") for cell in cells):
            continue
        if head is None:
            head = [str(cell or "").strip().casefold() for cell in cells]
            _check_head(path, head, needed)
            continue
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


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-16" if data.startswith(_WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{printable(str(path))}: line {line} is not in UTF-8; save it as CSV UTF-8, or as xlsx"
        ) from error


def _csv(path: Path, text: str, needed: Sequence[str]) -> Iterator[tuple[int, Sequence[Entry]]]:
    """Read CSV whose separator is the one by which the needed columns are found."""
    skipped = 1 if text[:4].casefold() == "sep=" else 0  # a line that only a spreadsheet reads
    lines = io.StringIO(text, newline="")
    for _ in range(skipped):
        lines.readline()
    start = lines.tell()
    head = lines.readline()
    lines.seek(start)
    counts = {mark: sum(name in _split(head, mark) for name in needed) for mark in _SEPARATORS}
    reader = csv.reader(lines, delimiter=max(_SEPARATORS, key=lambda mark: counts[mark]))
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
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book: Any = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # which some programs write wrongly
        rows: Iterable[Sequence[Any]] = sheet.iter_rows(values_only=True)
        for number, cells in enumerate(rows, start=1):
            yield number, [cell.date() if isinstance(cell, datetime) else cell for cell in cells]
    except (zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, IndexError) as error:
        raise UsageError(
            f"{printable(str(path))}: is no xlsx workbook: {error}; save it as xlsx, or as CSV UTF-8"
        ) from error
