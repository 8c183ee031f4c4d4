"""Sorts more rows than fit into memory: divides them among files by ranges of a key, and sorts one file at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.scratch import understood
from pipeline.temporary import TemporaryFolder

_MOST_RANGES = 256  # each is an open file
_SAMPLED = 1_000  # values per range
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def bounds_of(columns: Iterable[pa.ChunkedArray], rows: int) -> list[str]:
    """Choose values between which there are about so many rows each.

    Args:
        columns: the key of all rows, a column of text.
        rows: number of rows.

    Returns:
        The values, in order; none if the rows are not more than that.
    """
    step, total = max(1, rows // _SAMPLED), 0
    sample: list[pa.Array] = []
    for column in columns:
        total += len(column)
        sample += column.take(pa.array(np.arange(0, len(column), step))).chunks
    ranges = min(_MOST_RANGES, -(-total // rows))
    if ranges < 2:
        return []
    values = pa.concat_arrays(sample).sort()
    places = np.arange(1, ranges) * len(values) // ranges
    return list(dict.fromkeys(values.take(pa.array(places)).to_pylist()))


def in_order(tables: Iterable[pa.Table], bounds: Sequence[str], keys: Sequence[str]) -> Iterator[pa.Table]:
    """Sort rows, and yield those of one range at a time.

    Args:
        tables: the rows, a part of them at a time.
        bounds: result of :func:`bounds_of` for the first key.
        keys: columns to sort by.

    Yields:
        The rows from each bound up to the next; all rows with the same first key are together.

    Raises:
        OutputError: the temporary folder is full.
    """
    order = [(key, "ascending") for key in keys]
    if not bounds:
        whole = list(tables)
        if whole:
            yield pa.concat_tables(whole).sort_by(order)
        return
    with understood(), TemporaryFolder() as folder:
        files = [folder / str(number) for number in range(len(bounds) + 1)]
        _divide(tables, bounds, keys[0], files)
        for file in files:
            if file.exists():
                with pa.ipc.open_stream(file) as stream:
                    rows = stream.read_all()
                file.unlink()
                yield rows.sort_by(order)


def _divide(tables: Iterable[pa.Table], bounds: Sequence[str], key: str, files: Sequence[Path]) -> None:
    with ExitStack() as stack:
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        for table in tables:
            rows = table.sort_by(key).combine_chunks()
            column = rows[key]
            cuts = [bisect_left(range(len(rows)), bound, key=lambda place: column[place].as_py()) for bound in bounds]
            for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
                if start < end:
                    if number not in writers:
                        sink = stack.enter_context(pa.OSFile(str(files[number]), "wb"))
                        writers[number] = stack.enter_context(pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS))
                    writers[number].write_table(rows.slice(start, end - start))
