"""Writes CSV: UTF-8 with a byte order mark, by which spreadsheets know it, commas and CRLF."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from pipeline.output.export.base import Cell, Column, Exporter, Row
from pipeline.output.export.formulas import disarmed


def write(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> list[str]:
    """Write a file.

    Args:
        path: file to write.
        rows: the rows.
        columns: columns of the file.
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in columns])
        for row in rows:
            writer.writerow([_text(column.cell(row)) for column in columns])
    return []


def _text(value: Cell) -> str | int | float | None:
    """Write a value as text that no program runs; a number is none that could be run, also below zero."""
    if isinstance(value, str):
        return disarmed(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return value if isinstance(value, int | float) or value is None else value.isoformat()


EXPORTER = Exporter(write, is_sheet=True)
