"""Brings published rows up to date: by the plan of the last run, its inputs, readings and calibration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.confidence.calibration import Calibration
from pipeline.output.confident import footer_after, published_again, published_otherwise
from pipeline.output.folder import Folder
from pipeline.output.schema import TABLES
from pipeline.output.tables import read_footer, read_table, write_table
from pipeline.questions.values import Reading
from pipeline.records import Document, Unit

PARTS = "parts"
"""Footer entry of a published file: the parts whose rows it holds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run plans, done or not, as columns.

    Attributes:
        unit_ids: ids of the units.
        document_ids: ids of the documents.
        sources: ``source`` of each document.
    """

    unit_ids: pa.Array
    document_ids: pa.Array
    sources: pa.Array

    @classmethod
    def of(cls, units: Iterable[Unit], documents: Sequence[Document]) -> Self:
        """Make a plan of units and documents."""
        return cls(
            unit_ids=pa.array([unit.unit_id for unit in units], pa.string()),
            document_ids=pa.array([document.document_id for document in documents], pa.string()),
            sources=pa.array([document.source for document in documents], pa.string()),
        )

    def marked(self, rows: pa.Table, table: str) -> pa.Table:
        """Add ``is_current`` to rows, and bring their ``source`` up to date.

        Args:
            rows: rows of the table, but for this column.
            table: name of the table, ``answers`` or ``failures``.
        """
        rows = self.located(rows).append_column("is_current", self._are_current(rows))
        return rows.select(TABLES[table].names).cast(TABLES[table])

    def located(self, rows: pa.Table) -> pa.Table:
        """Set ``source`` of documents in the plan, which this run may name otherwise; that of other documents stays."""
        found = self.sources.take(pc.index_in(rows["document_id"], value_set=self.document_ids))
        column = rows.schema.get_field_index("source")
        return rows.set_column(column, "source", pc.coalesce(found, rows["source"]))

    def changes(self, rows: pa.Table) -> bool:
        """Tell whether published rows differ from what :meth:`marked` makes of them."""
        current = self._are_current(rows).equals(rows["is_current"])
        return not current or not self.located(rows)["source"].equals(rows["source"])

    def _are_current(self, rows: pa.Table) -> pa.ChunkedArray:
        return pc.is_in(rows["unit_id"], value_set=self.unit_ids)


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
    for name, parts in groups.items():
        for table in ("failures", "answers"):
            file = name.replace("answers/", f"{table}/", 1)
            footer = read_footer(folder, file, PARTS) if table == "answers" else {}
            changed = published_otherwise(footer, readings, calibration) if footer else []
            marks = read_table(folder, file, ["document_id", "source", "unit_id", "is_current"])
            if changed or plan.changes(marks):
                rows = read_table(folder, file, [name for name in TABLES[table].names if name != "is_current"])
                metadata = {PARTS: json.dumps(parts)}
                if footer:
                    if changed:
                        rows = published_again(rows, footer, readings, calibration)
                    metadata |= footer_after(footer, changed, readings, calibration)
                write_table(folder, file, plan.marked(rows, table), **metadata)


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


def document_prefixes(folder: Folder, names: Sequence[str], rows_at_a_time: int) -> list[str]:
    """Divide the documents of current answers by the beginnings of their ids, so that few rows are read at a time.

    Args:
        folder: the output folder.
        names: names of the published files of ``answers``.
        rows_at_a_time: number of current answers that one beginning may have, on average.

    Raises:
        UsageError: a file is damaged.
        EngineError: a file cannot be read.
    """
    ids = [read_current(folder, name, ["document_id"])["document_id"] for name in names]
    chars = 0
    while sum(map(len, ids)) > rows_at_a_time * 16**chars:  # a document id is a hash in hexadecimal digits
        chars += 1
    starts = (pc.unique(pc.utf8_slice_codeunits(column, 0, chars)).to_pylist() for column in ids)
    return sorted({prefix for prefixes in starts for prefix in prefixes})
