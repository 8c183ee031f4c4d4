"""Reads which documents failed, and why, from the published failures."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from pipeline.output.current import read_current
from pipeline.output.folder import Folder
from pipeline.output.schema import FAILURES
from pipeline.scratch import Scratch

_COLUMNS = ("document_id", "document", "error_type", "error_message")
_SCHEMA = pa.schema([("place", pa.int64()), *(FAILURES.field(name) for name in _COLUMNS)])
# Of several types that are equally frequent, the one that comes first is told.
_BY_DOCUMENT = """
    select document, sum(rows)::bigint as rows,
        arg_max(error_type, (rows, -first)) as error_type, arg_max(error_message, (rows, -first)) as error_message
    from (
        select document, document_id, error_type, count(*) as rows, min(place) as first,
            arg_min(error_message, place) as error_message
        from failures group by document, document_id, error_type
    )
    group by document, document_id order by document, document_id
"""


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


@dataclass(frozen=True, slots=True)
class Failed:
    """The documents with failed rows.

    Attributes:
        count: number of them.
        first: the first of them, by path.
    """

    count: int
    first: tuple[FailedDocument, ...]


def read_failed(folder: Folder, most: int) -> Failed:
    """Find the documents with current failures.

    Args:
        folder: the output folder.
        most: most documents to name.

    Raises:
        UsageError: a file in the folder is damaged.
        EngineError: a file cannot be read.
    """
    with Scratch() as scratch:
        scratch.create("failures", _SCHEMA)
        places = 0
        for name in folder.names("failures", ".parquet"):
            rows = read_current(folder, name, _COLUMNS)
            numbers = pa.array(range(places, places + len(rows)), pa.int64())
            scratch.add("failures", rows.append_column("place", numbers))
            places += len(rows)
        count = scratch.value("select count(*) from (select distinct document, document_id from failures)")
        first = (row for rows in scratch.read(f"{_BY_DOCUMENT} limit {most}") for row in rows.to_pylist())
        return Failed(count, tuple(FailedDocument(**row) for row in first))
