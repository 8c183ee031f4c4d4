"""Brings published rows up to date: by the plan of the last run, its inputs, readings and calibration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import Catalog
from pipeline.confidence.calibration import Calibration
from pipeline.output.confident import footer_after, published_again, published_otherwise
from pipeline.output.folder import Folder
from pipeline.output.schema import TABLES
from pipeline.output.tables import read_footer, read_table, write_table
from pipeline.questions.values import Reading
from pipeline.records import Document, Unit
from pipeline.scratch import Scratch

PARTS = "parts"
"""Footer entry of a published file: the parts whose rows it holds."""
TABLES_OF_GROUP = ("failures", "answers")
"""The tables that a published group has a file in, in the order in which these are written."""


PLANNED = pa.schema(
    [
        ("n", pa.int64()),
        ("unit_id", pa.string()),
        ("document", pa.int64()),
        ("pages", pa.list_(pa.int32())),
        ("further", pa.list_(pa.int32())),
    ]
)
"""Columns of the table of planned units: their number, id, number of their document, and pages, as a unit has them."""
_MARKS = ("document_id", "source", "unit_id", "is_current")
# Units that nobody plans are few, or in files that are written once: whoever marks rows looks at these alone.
_NOT_PLANNED = """
    insert into not_planned select distinct unit_id from ({found}) anti join planned using (unit_id)
"""
_OF_PARTS = """
    select unit_id from (
        select unit_id, part from completed union all select unit_id, part from completed_pages
    ) semi join given using (part)
"""
_CHANGED = """
    select distinct place from (
        select place from marks anti join not_planned using (unit_id) where not is_current
        union all
        select place from marks semi join not_planned using (unit_id) where is_current
        union all
        select m.place from marks m join documents d using (document_id) where m.source <> d.source
    ) order by place
"""


class Plan:
    """What a run plans, done or not, in a scratch database.

    Args:
        scratch: database whose table ``planned`` has the units, with the columns of ``PLANNED``, and whose table
            ``documents`` has ``document_id`` and ``source`` of each document.
    """

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        scratch.create("not_planned", pa.schema([("unit_id", pa.string())]))
        self._marked: set[str] = set()  # published files whose marks are those of this plan

    @classmethod
    def of(cls, units: Iterable[Unit], documents: Iterable[Document]) -> Self:
        """Make a plan of a few units and documents."""
        catalog = Catalog(Scratch())
        catalog.append(documents)
        catalog.scratch.create("planned", PLANNED)
        ids = pa.array([unit.unit_id for unit in units], pa.string())
        catalog.scratch.add("planned", pa.table({"unit_id": ids}))
        return cls(catalog.scratch)

    def expect(self, parts: Sequence[str]) -> None:
        """Find the units that parts hold and nobody plans, before the rows of these parts are marked.

        Args:
            parts: ids of the parts, whose units the database lists in ``completed`` and ``completed_pages``.
        """
        given = pa.table({"part": pa.array(parts, pa.string())})
        self.scratch.run_with(given, _NOT_PLANNED.format(found=_OF_PARTS))

    def marked(self, rows: pa.Table, table: str) -> pa.Table:
        """Add ``is_current`` to rows, and bring their ``source`` up to date.

        Args:
            rows: rows of the table, but for this column, of parts or files that :meth:`expect` or :meth:`changes` saw.
            table: name of the table, ``answers`` or ``failures``.
        """
        ids = pa.table({"unit_id": pc.unique(rows["unit_id"])})
        others = self.scratch.read_with(ids, "select unit_id from given semi join not_planned using (unit_id)")
        current = pc.invert(pc.is_in(rows["unit_id"], value_set=others["unit_id"].combine_chunks()))
        rows = self._located(rows).append_column("is_current", current)
        return rows.select(TABLES[table].names).cast(TABLES[table])

    def _located(self, rows: pa.Table) -> pa.Table:
        """Set ``source`` of documents in the plan, which this run may name otherwise; that of other documents stays."""
        ids = pa.table({"document_id": pc.unique(rows["document_id"])})
        known = self.scratch.read_with(
            ids, "select document_id, d.source from given join documents d using (document_id)"
        )
        places = pc.index_in(rows["document_id"], value_set=known["document_id"].combine_chunks())
        column = rows.schema.get_field_index("source")
        return rows.set_column(column, "source", pc.coalesce(known["source"].take(places), rows["source"]))

    def marks(self, name: str) -> None:
        """Note that a published file, and its partner, have the marks of this plan."""
        self._marked.add(name)

    def changes(self, folder: Folder, names: Iterable[str]) -> set[str]:
        """Return those of some published files whose marks are not those of this plan.

        Args:
            folder: the output folder.
            names: names of files of ``answers`` and ``failures``.

        Raises:
            UsageError: a file is damaged.
            EngineError: a file cannot be read.
        """
        left = [name for name in names if name not in self._marked]
        self.scratch.create("marks", _SCHEMA_OF_MARKS)
        for place, name in enumerate(left):
            marks = read_table(folder, name, _MARKS)
            self.scratch.add("marks", marks.append_column("place", pa.array([place] * len(marks), pa.int32())))
        self.scratch.run(_NOT_PLANNED.format(found="select unit_id from marks"))
        changed = {left[row] for rows in self.scratch.read(_CHANGED) for row in rows["place"].to_pylist()}
        self.scratch.run("drop table marks")
        self._marked.update(set(left) - changed)
        return changed


_SCHEMA_OF_MARKS = pa.schema([*(TABLES["answers"].field(name) for name in _MARKS), ("place", pa.int32())])


def update_rows(
    folder: Folder,
    groups: Mapping[str, Sequence[str]],
    plan: Plan,
    readings: Mapping[str, Reading],
    calibration: Calibration | None,
) -> None:
    """Rewrite the published files whose rows the plan, other readings or another calibration change, each in one step.

    Only a few columns of the other files are read. A reader finds every row once at any time, as it was or as it is.

    Args:
        folder: the output folder.
        groups: parts of each published group, by the name of its file in ``answers``.
        plan: plan of the run.
        readings: how answers are read, by question id.
        calibration: calibration of the model; ``None`` without one.

    Raises:
        UsageError: a file is damaged.
        EngineError: the file system refuses; every file is as it was or as it should be, and the next call continues.
    """
    marked_otherwise = plan.changes(folder, (partner(name, table) for name in groups for table in TABLES_OF_GROUP))
    for name, parts in groups.items():
        for table in TABLES_OF_GROUP:
            file = partner(name, table)
            footer = read_footer(folder, file, PARTS) if table == "answers" else {}
            changed = published_otherwise(footer, readings, calibration) if footer else []
            if changed or file in marked_otherwise:
                rows = read_table(folder, file, [name for name in TABLES[table].names if name != "is_current"])
                metadata = {PARTS: json.dumps(parts)}
                if footer:
                    if changed:
                        rows = published_again(rows, footer, readings, calibration)
                    metadata |= footer_after(footer, changed, readings, calibration)
                write_table(folder, file, plan.marked(rows, table), **metadata)
                plan.marks(file)


def partner(name: str, table: str) -> str:
    """Return the name of a group's file in a table, from that in ``answers``."""
    return name.replace("answers/", f"{table}/", 1)


def read_current(folder: Folder, name: str, columns: Sequence[str]) -> pa.Table:
    """Read some columns of the current rows of a published file.

    Args:
        folder: the output folder.
        name: name of the file in the folder.
        columns: names of the columns that are returned.

    Raises:
        UsageError: the file is damaged.
        EngineError: the file cannot be read.
    """
    rows = read_table(folder, name, [*columns, "is_current"])
    return rows.filter(rows["is_current"]).select(columns)
