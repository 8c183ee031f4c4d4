"""Writes Parquet files whole, reads them by column, and describes them in their footer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.output.folder import Folder
from pipeline.output.schema import SCHEMA_VERSION, with_metadata
from pipeline.output.soundness import check_columns, check_footer

SUFFIX = ".parquet"
_OURS = re.compile(
    r"(answers|failures|cache)/[0-9a-f]{16}|parts/\w+-[0-9a-f]{12}|pages/pages|documents/documents|nights/listing"
)
_READERS = 16  # a footer takes two small reads, which on an object store are nearly all waiting


def write_table(folder: Folder, name: str, table: pa.Table, **metadata: str) -> None:
    """Write a table in one step; ``metadata`` goes into the footer, beside the schema version.

    Args:
        folder: the output folder.
        name: name of the file in the folder.
        table: the rows.
        **metadata: further values for the file's metadata.

    Raises:
        EngineError: the file system refuses.
    """
    buffer = pa.BufferOutputStream()
    schema = with_metadata(table.schema, **metadata)
    pq.write_table(table.replace_schema_metadata(schema.metadata), buffer, compression="zstd")
    folder.write(name, buffer.getvalue().to_pybytes())


def write_batches(folder: Folder, name: str, schema: pa.Schema, batches: Iterable[pa.Table], **metadata: str) -> None:
    """Write a table of any size in one step; only a few of its rows are in memory at a time.

    Args:
        folder: the output folder.
        name: name of the file in the folder.
        schema: columns of the table.
        batches: the rows.
        **metadata: further values for the file's metadata.

    Raises:
        EngineError: the file system refuses.
    """
    with (
        folder.place(name) as path,
        open(path, "wb") as file,
        pq.ParquetWriter(file, with_metadata(schema, **metadata), compression="zstd") as writer,
    ):
        for batch in batches:
            writer.write_table(batch.cast(schema))


def read_footer(folder: Folder, name: str, key: str) -> dict[str, str]:
    """Read the entries of a footer.

    Args:
        folder: the output folder.
        name: name of the file in the folder.
        key: key of an entry that the footer must have.

    Raises:
        UsageError: the file is damaged, or another version of docpipe wrote it.
        EngineError: the file cannot be read.
    """
    try:
        with folder.open(name) as file:
            metadata = pq.read_metadata(file).metadata
    except pa.ArrowInvalid as error:
        raise _damaged(folder, name, str(error)) from error
    version = (metadata or {}).get(b"schema_version", b"").decode(errors="replace")
    if version and version != str(SCHEMA_VERSION):  # what it holds is whole, so nobody may be told to delete it
        raise UsageError(other_version(f"{folder.uri}/{name}", version))
    if not version or key.encode() not in metadata:
        raise _damaged(folder, name, "it has no schema version")
    footer = {entry.decode(errors="replace"): text.decode(errors="replace") for entry, text in metadata.items()}
    try:
        check_footer(footer, name)
    except ValueError as error:
        raise _damaged(folder, name, str(error)) from error
    return footer


def other_version(found: str, version: object) -> str:
    """Say that a file or folder has tables of another version.

    Args:
        found: where it is.
        version: version of its tables.
    """
    return (
        f"{found} was made by another version of docpipe (tables of version {version}, this docpipe writes version "
        f"{SCHEMA_VERSION}); read it with that version, or take another --output"
    )


def read_footers(folder: Folder, names: Sequence[str], key: str) -> list[dict[str, str]]:
    """Call :func:`read_footer` for many files at a time."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda name: read_footer(folder, name, key), names))


def read_table(folder: Folder, name: str, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a file, without the footer's metadata.

    Args:
        folder: the output folder.
        name: name of the file in the folder.
        columns: names of the columns that are read.

    Raises:
        UsageError: the file is damaged.
        EngineError: the file cannot be read.
    """
    try:
        with folder.open(name) as file:
            parquet = pq.ParquetFile(file)
            check_columns(parquet.schema_arrow, name)
            return _checked(parquet.read(columns=list(columns)))
    except ValueError as error:  # Arrow's own among them
        raise _damaged(folder, name, str(error)) from error


def read_batches(folder: Folder, name: str, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Read some columns of a file, a few rows at a time.

    Args:
        folder: the output folder.
        name: name of the file in the folder.
        columns: names of the columns that are read.
        rows: most rows at a time.

    Raises:
        UsageError: the file is damaged.
        EngineError: the file cannot be read.
    """
    try:
        with folder.open(name) as file:
            parquet = pq.ParquetFile(file)
            check_columns(parquet.schema_arrow, name)
            for batch in parquet.iter_batches(rows, columns=list(columns)):
                yield _checked(pa.Table.from_batches([batch]))
    except pa.ArrowInvalid as error:
        raise _damaged(folder, name, str(error)) from error


def read_tables(folder: Folder, names: Iterable[str], columns: Sequence[str]) -> list[pa.Table]:
    """Call :func:`read_table` for many files at a time."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda name: read_table(folder, name, columns), names))


def has_our_name(name: str) -> bool:
    """Tell whether a file is called what docpipe calls its tables, so that nobody else can have put it there."""
    return _OURS.fullmatch(name.removesuffix(SUFFIX)) is not None


def _checked(rows: pa.Table) -> pa.Table:
    """Return rows as read, without the footer's metadata; damaged text is found here, where the file is known."""
    rows.validate(full=True)
    return rows.replace_schema_metadata(None)


def _damaged(folder: Folder, name: str, reason: str) -> UsageError:
    where = f"{folder.uri.rstrip('/')}/{name}"
    if not has_our_name(name):
        return UsageError(
            f"{where} is not a file of docpipe, which reads and writes all of that folder ({reason}); "
            "move it elsewhere, or choose another --output"
        )
    return UsageError(
        f"{where} is not a file of this version of docpipe ({reason}); "
        "delete it, and the next run makes its content again, or choose another --output"
    )
