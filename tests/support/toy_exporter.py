"""An exporter outside of the package: the names of the documents, one per line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.output.export.base import Column, Exporter, Row


def write(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> list[str]:
    path.write_text("".join(f"{row['document']}\n" for row in rows), encoding="utf-8")
    return ["these are names only"]


EXPORTER = Exporter(write)
