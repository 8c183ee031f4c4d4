"""Review sheets that are written, filled in and looked at again."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from pipeline.output.export.write import write_export, write_review_sheet
from pipeline.output.folder import Folder


def sheet_of(folder: Folder, to: Path) -> list[dict[str, str]]:
    """Write a review sheet, and read its rows."""
    write_review_sheet(folder, to)
    return list(csv.DictReader(io.StringIO(to.read_bytes().decode("utf-8-sig"), newline="")))


def fill_in(path: Path, rows: list[dict[str, str]], delimiter: str = ",", encoding: str = "utf-8") -> None:
    """Write the rows of a sheet as a spreadsheet saves them."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def exported(folder: Folder, to: Path, level: str = "documents") -> list[dict[str, Any]]:
    """Export answers, and read them."""
    write_export(folder, to, "jsonl", level)
    return [json.loads(line) for line in to.read_text(encoding="utf-8").splitlines()]
