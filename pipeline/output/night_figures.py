"""Adds up, from the tables, what a run computed and which documents it covers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.folder import Folder
from pipeline.output.publish import DOCUMENTS_FILE
from pipeline.output.schema import LISTING
from pipeline.output.tables import read_batches, read_table

_COLUMNS = ("run_id", "status", "review_reasons", "retention", "confidence", "confidence_raw")
_MEANS = ("retention", "confidence", "confidence_raw")
_ROWS_AT_A_TIME = 200_000


@dataclass(slots=True)
class NightFigures:
    """Counts and means over the answers of one run.

    Attributes:
        statuses: number of answers by status.
        review_reasons: number of answers to review by reason; one may have several.
        failures: number of failures by type.
        sums: sum and number of measured values, by column.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    review_reasons: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    sums: dict[str, tuple[float, int]] = field(default_factory=lambda: dict.fromkeys(_MEANS, (0.0, 0)))

    def share(self, status: str) -> float | None:
        """Return the share of answers with a status, in 0..1; ``None`` without answers."""
        total = self.statuses.total()
        return self.statuses[status] / total if total else None

    def mean(self, column: str) -> float | None:
        """Return the mean of a column; ``None`` where nothing was measured."""
        total, count = self.sums[column]
        return total / count if count else None


def figures_of(folder: Folder, run_id: str) -> NightFigures:
    """Add up the answers that a run computed, one file at a time.

    Args:
        folder: the output folder.
        run_id: id of the run.

    Raises:
        UsageError: a file is damaged.
        EngineError: a file cannot be read.
    """
    found = NightFigures()
    for name in folder.names("answers", ".parquet"):
        rows = read_table(folder, name, _COLUMNS)
        rows = rows.filter(pc.equal(rows["run_id"], run_id))
        found.statuses.update(_counted(rows["status"]))
        review = rows.filter(pc.equal(rows["status"], "needs_review"))
        found.review_reasons.update(_counted(pc.list_flatten(review["review_reasons"])))
        for column in _MEANS:
            total, count = found.sums[column]
            found.sums[column] = total + (pc.sum(rows[column]).as_py() or 0.0), count + pc.count(rows[column]).as_py()
    for name in folder.names("failures", ".parquet"):
        rows = read_table(folder, name, ("run_id", "error_type"))
        found.failures.update(_counted(rows.filter(pc.equal(rows["run_id"], run_id))["error_type"]))
    return found


def listing_of(folder: Folder) -> pa.Table:
    """List the documents of the last run, each once.

    Args:
        folder: the output folder.

    Raises:
        UsageError: the table is damaged.
        EngineError: the table cannot be read.
    """
    found = [LISTING.empty_table()]
    if DOCUMENTS_FILE in folder.names("documents", ".parquet"):
        found += map(_once, read_batches(folder, DOCUMENTS_FILE, LISTING.names, _ROWS_AT_A_TIME))
    return _once(pa.concat_tables(found)).cast(LISTING)


def compared(before: pa.Table, now: pa.Table) -> tuple[int, int, int]:
    """Count the documents that are new, changed and deleted; a changed one has the same path and another id.

    Args:
        before: documents of an earlier run.
        now: documents of the last run.
    """
    added = now.filter(pc.invert(pc.is_in(now["document_id"], before["document_id"].combine_chunks())))
    removed = before.filter(pc.invert(pc.is_in(before["document_id"], now["document_id"].combine_chunks())))
    changed = pc.sum(pc.is_in(added["document"], removed["document"].combine_chunks())).as_py() or 0
    return len(added) - changed, changed, len(removed) - changed


def _once(rows: pa.Table) -> pa.Table:
    return rows.group_by(LISTING.names, use_threads=False).aggregate([])


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in pc.value_counts(column).to_pylist()}
