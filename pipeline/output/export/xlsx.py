"""Writes Excel workbooks row by row, with numbers and dates as such, and text as text that is never a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from pipeline.output.export.base import Cell, Column, Exporter, Row
from pipeline.output.export.formulas import may_run

MOST_ROWS = 1_048_576
MOST_CHARACTERS = 32_767  # as UTF-16 has them
_MOST_DIGITS = 15  # of a number; further ones become zeros
_FIRST_DAY = date(1900, 3, 1)  # before it, days are counted wrongly
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_TEXT_FORMAT = "@"
_WIDE, _NARROW = 32, 14  # characters
_WIDE_COLUMNS = ("document", "asked", "answer", "evidence_text", "value_error", "reviewed_answer", "comment")


def write(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> list[str]:
    """Write a workbook with one sheet.

    Args:
        path: file to write.
        rows: the rows.
        columns: columns of the sheet.

    Returns:
        What was cut off, in words.
    """
    from openpyxl import Workbook
    from openpyxl.utils import get_column_letter
    from openpyxl.writer.excel import ExcelWriter

    book = Workbook(write_only=True)
    sheet = book.create_sheet("answers")
    sheet.freeze_panes = "A2"
    for number, column in enumerate(columns, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = _WIDE if column.name in _WIDE_COLUMNS else _NARROW
    cut: list[str] = []
    sheet.append([column.name for column in columns])
    for number, row in enumerate(rows, start=2):
        cells = []
        for column in columns:
            value = column.cell(row)
            if isinstance(value, str) and len(value) > MOST_CHARACTERS // 2 and value != (value := _fitting(value)):
                cut.append(f"row {number}, column {column.name}")
            cells.append(_cell(sheet, value, column))
        sheet.append(cells)
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:  # which the library would leave open where the disk is full
        ExcelWriter(book, archive).save()
    if not cut:
        return []
    return [f"{len(cut)} texts were cut off at {MOST_CHARACTERS:,} characters, the most of a cell; first in {cut[0]}"]


def _cell(sheet: Any, value: Cell, column: Column) -> Any:
    from openpyxl.cell import WriteOnlyCell

    if isinstance(value, Decimal) and len(value.as_tuple().digits) > _MOST_DIGITS:
        value = format(value, "f")
    if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        value = str(value)
    if isinstance(value, date) and value < _FIRST_DAY:
        value = value.isoformat()
    if column.to_fill_in:
        cell = WriteOnlyCell(sheet, None)
        cell.number_format = _TEXT_FORMAT  # so that 00123 stays what a person writes
        return cell
    if not isinstance(value, str):
        return value
    text = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", value)
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # as readers of XML do, unless the writer escapes them
    if not may_run(text):
        return text
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"  # not the formula that the library sees in it
    cell.quotePrefix = True  # as if typed behind an apostrophe: it stays text when somebody edits the cell
    return cell


def _fitting(text: str) -> str:
    return text.encode("utf-16-le")[: 2 * MOST_CHARACTERS].decode("utf-16-le", errors="ignore")


EXPORTER = Exporter(write, is_sheet=True, most_rows=MOST_ROWS - 1)
