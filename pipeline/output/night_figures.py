"""Adds up, from the tables, what a run computed and which documents it covers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.folder import Folder
from pipeline.output.publish import DOCUMENTS_FILE
from pipeline.output.schema import LISTING
from pipeline.output.tables import read_batches, read_table
from pipeline.scratch import Scratch

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


def listing_of(folder: Folder, scratch: Scratch) -> Iterator[pa.Table]:
    """Yield the documents of the last run, each once, a few at a time.

    Args:
        folder: the output folder.
        scratch: database to sort them in.

    Raises:
        UsageError: the table is damaged.
        EngineError: the table cannot be read.
    """
    scratch.create("listed", LISTING)
    if DOCUMENTS_FILE in folder.names("documents", ".parquet"):
        for rows in read_batches(folder, DOCUMENTS_FILE, LISTING.names, _ROWS_AT_A_TIME):
            scratch.add("listed", rows.group_by(LISTING.names).aggregate([]))
    yield from scratch.read("select distinct document_id, document from listed order by document_id")


def compared(scratch: Scratch, before: Iterable[pa.Table], now: Iterable[pa.Table]) -> tuple[int, int, int]:
    """Count the documents that are new, changed and deleted; a changed one has the same path and another id.

    Args:
        scratch: database to compare them in.
        before: documents of an earlier run.
        now: documents of the last run.
    """
    for name, tables in (("listed_before", before), ("listed_now", now)):
        scratch.create(name, LISTING)
        for rows in tables:
            scratch.add(name, rows)
    added = "listed_now anti join listed_before using (document_id)"
    removed = "listed_before anti join listed_now using (document_id)"
    changed = scratch.value(f"select count(*) from {added} where document in (select document from {removed})")
    counts = [scratch.value(f"select count(*) from {which}") for which in (added, removed)]
    return counts[0] - changed, changed, counts[1] - changed


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in pc.value_counts(column).to_pylist()}
