"""Merges small parts, so that a run over many documents does not leave a file per bundle.

The parts of a published group become one, whose footer lists the parts that it stands for. It is written whole under a
name of its own, and counts from then on in their place: whoever reads parts leaves out those that another stands for.
They are deleted after that. So a crash leaves the parts, or the one that stands for them, and never both or none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.output.completed import COMPACTED, REPLACES, LiveParts
from pipeline.output.current import PARTS, TABLES_OF_GROUP
from pipeline.output.folder import Folder
from pipeline.output.held import Held
from pipeline.output.lock import OutputLock
from pipeline.output.parts import part_ids, part_name, read_held, read_rows
from pipeline.output.publish import check_tables
from pipeline.output.schema import COMMITTED, PART
from pipeline.output.tables import read_footers, write_table


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of the parts of an output folder.

    Attributes:
        before: number of files of parts that there were.
        after: number of files of parts that there are.
    """

    before: int
    after: int


def compact(folder: Folder) -> Compacted:
    """Merge the published parts, those of each group into one; rows and tables stay as they are.

    Parts that are not published yet stay too, as the next run publishes them. The folder is locked meanwhile.

    Args:
        folder: the output folder.

    Raises:
        UsageError: a run holds the folder, it is none of docpipe, or a file in it is damaged.
        OutputError, EngineError: the file system refuses; the next call continues.
    """
    check_tables(folder)
    names = folder.names("answers", ".parquet")
    with OutputLock(folder) as lock:
        before = len(part_ids(folder))
        live = LiveParts(folder)
        _delete(folder, live)  # what a crash left
        groups = (json.loads(footer[PARTS]) for footer in read_footers(folder, names, PARTS))
        for group in groups:
            if len(group) > 1 and all(part in live.replaces for part in group):
                lock.check()
                _merge(folder, group)
        _delete(folder, LiveParts(folder))
        return Compacted(before, len(part_ids(folder)))


def _merge(folder: Folder, parts: Sequence[str]) -> None:
    """Write the part that stands for some parts; of a row that several hold, it has that of the first."""
    seen = Held()
    merged = []
    rows = read_rows(folder, parts, tuple(COMMITTED))
    for of_part, held in zip(rows, read_held(folder, parts), strict=True):
        again = seen.common(held)
        of_part |= {table: again.without(of_part[table]) for table in TABLES_OF_GROUP}
        merged.append(pa.table({table: _as_list(found) for table, found in of_part.items()}, schema=PART))
        seen.add(held)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    footer = seen.to_footer() | {REPLACES: json.dumps(list(parts))}
    write_table(folder, part_name(f"{COMPACTED}{digest}"), pa.concat_tables(merged), bundle_id="", **footer)


def _as_list(rows: pa.Table) -> pa.Array:
    """Put rows into one list."""
    items = rows.to_struct_array()
    items = pa.concat_arrays(items.chunks) if items.num_chunks else pa.array([], items.type)
    return pa.ListArray.from_arrays(pa.array([0, len(items)], pa.int32()), items)


def _delete(folder: Folder, live: LiveParts) -> None:
    for part in part_ids(folder):
        if part in live.gone:
            folder.delete(part_name(part))
