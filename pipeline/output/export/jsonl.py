"""Writes JSON, one answer per line, with its value and all of its evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.output.export.base import Column, Exporter, Row

_AS_THEY_ARE = ("page", "pages", "review_reasons", "evidence")
_NOT_HERE = ("value", "currency", "box")


def write(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> list[str]:
    """Write a file.

    Args:
        path: file to write.
        rows: the rows.
        columns: columns of a sheet, whose names are used; value and evidence are written whole.
    """
    named = [column for column in columns if column.name == "page" or column.name not in (*_NOT_HERE, *_AS_THEY_ARE)]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            line: dict[str, Any] = {column.name: column.cell(row) for column in named}
            line["value"] = None if row["value"] is None else json.loads(row["value"])
            line |= {name: row[name] for name in _AS_THEY_ARE}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return []


EXPORTER = Exporter(write)
