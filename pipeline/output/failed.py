"""Reads which documents failed, and why, from the published failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.folder import Folder
from pipeline.output.tables import read_tables

_COLUMNS = ("unit_id", "document_id", "document", "error_type", "error_message")


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A document with failed rows.

    Attributes:
        document: its path below the input.
        rows: number of its failed rows.
        error_type: the most frequent type of error among them.
        error_message: a message of this type.
    """

    document: str
    rows: int
    error_type: str
    error_message: str


def read_failed(folder: Folder, unit_ids: Collection[str]) -> list[FailedDocument]:
    """List the documents with published failures of some units, sorted by path.

    Args:
        folder: the output folder.
        unit_ids: ids of the units to look at; the folder may hold answers to other questions too.

    Raises:
        UsageError: a file in the folder is damaged.
        EngineError: a file cannot be read.
    """
    wanted = pa.array(list(unit_ids), pa.string())
    reasons: dict[tuple[str, str], Counter[str]] = {}
    messages: dict[tuple[str, str], str] = {}
    for rows in read_tables(folder, folder.names("failures", ".parquet"), _COLUMNS):
        for row in rows.filter(pc.is_in(rows["unit_id"], wanted)).to_pylist():
            reasons.setdefault((row["document"], row["document_id"]), Counter())[row["error_type"]] += 1
            messages.setdefault((row["document_id"], row["error_type"]), row["error_message"])
    failed = []
    for (document, document_id), types in sorted(reasons.items()):
        ((error_type, _),) = types.most_common(1)
        message = messages[document_id, error_type]
        failed.append(FailedDocument(document, types.total(), error_type, message))
    return failed
