"""Adds up how much of the published answers' pages was read, and how much was kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.folder import Folder
from pipeline.output.summaries import by_page
from pipeline.output.tables import read_table

_COLUMNS = ("unit_id", "document_id", "pages", "status", "retention", "answer", "fallback", "pruned_answer")
_SUMS = ("visual_tokens", "kept_tokens", "kv_bytes_full", "kv_bytes_kept", "new_tokens")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over rows of ``answers``; ``None`` where no row was measured.

    Attributes:
        visual_tokens: visual tokens of all questions; a page with two questions counts twice.
        kept_tokens: visual tokens left after pruning.
        retention: mean retention of the rows, in 0..1.
        kv_bytes_full: size of the KV caches without pruning, in bytes.
        kv_bytes_kept: size of the KV caches with pruning, in bytes.
        new_tokens: number of generated tokens.
        asked_again: number of answers that were asked for again without pruning.
        changed_again: number of those that came out otherwise than with pruning.
        skipped_questions: number of answers that were not decoded, since the page was left out of the question.
        skipped_pages: number of pages that were left out of every question.
    """

    visual_tokens: int | None
    kept_tokens: int | None
    retention: float | None
    kv_bytes_full: int | None
    kv_bytes_kept: int | None
    new_tokens: int | None
    asked_again: int = 0
    changed_again: int = 0
    skipped_questions: int = 0
    skipped_pages: int = 0


def read_totals(folder: Folder, unit_ids: Collection[str]) -> Totals:
    """Add up the published rows of some units.

    Args:
        folder: the output folder.
        unit_ids: ids of the units to count; the folder may hold answers to other questions too.

    Raises:
        UsageError: a file is damaged.
        EngineError: a file cannot be read.
    """
    wanted = pa.array(list(unit_ids), pa.string())
    sums: dict[str, int | None] = dict.fromkeys(_SUMS)
    shares, measured = 0.0, 0
    again, changed = 0, 0
    pages: list[pa.Table] = []
    for name in folder.names("answers", ".parquet"):  # one at a time, as all of them need not fit into memory
        rows = read_table(folder, name, [*_COLUMNS, *_SUMS])
        rows = rows.filter(pc.is_in(rows["unit_id"], wanted))
        for column in _SUMS:
            part = pc.sum(rows[column]).as_py()
            if part is not None:
                sums[column] = part + (sums[column] or 0)
        measured += pc.count(rows["retention"]).as_py()
        shares += pc.sum(rows["retention"]).as_py() or 0.0
        again += pc.count(rows["fallback"]).as_py()
        changed += pc.sum(pc.not_equal(rows["answer"], rows["pruned_answer"])).as_py() or 0
        pages.append(_pages(rows))
    retention = shares / measured if measured else None
    skipped, left_out = _skipped(pages)
    return Totals(
        **sums,
        retention=retention,
        asked_again=again,
        changed_again=changed,
        skipped_questions=skipped,
        skipped_pages=left_out,
    )


def _pages(rows: pa.Table) -> pa.Table:
    """Count the rows of each page, and those of them that were skipped."""
    rows = by_page(rows.select(["document_id", "pages", "status"]))
    is_skipped = pc.cast(pc.equal(rows["status"], "skipped"), pa.int64())
    counted = pa.table(
        {
            "document_id": rows["document_id"],
            "page": rows["page"],
            "rows": pc.cast(pc.is_valid(rows["status"]), pa.int64()),
            "skipped": is_skipped,
        }
    )
    return _summed(counted)


def _summed(pages: pa.Table) -> pa.Table:
    sums = pages.group_by(["document_id", "page"]).aggregate([("rows", "sum"), ("skipped", "sum")])
    return sums.rename_columns(["document_id", "page", "rows", "skipped"])


def _skipped(pages: list[pa.Table]) -> tuple[int, int]:
    """Count the rows that were skipped, and the pages of which all rows were; a page may be in several files."""
    skipped = sum(pc.sum(table["skipped"]).as_py() or 0 for table in pages)
    if not skipped:
        return 0, 0
    whole = _summed(pa.concat_tables(pages))
    return skipped, pc.sum(pc.equal(whole["rows"], whole["skipped"])).as_py() or 0
