"""Adds up how much of the current answers' pages was read, and how much was kept."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.current import read_current
from pipeline.output.folder import Folder
from pipeline.output.summaries import by_page
from pipeline.scratch import Scratch

_COLUMNS = ("status", "retention", "answer", "fallback", "pruned_answer", "look", "other_answers")
_SUMS = ("visual_tokens", "kept_tokens", "kv_bytes_full", "kv_bytes_kept", "new_tokens")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the current rows of ``answers``; ``None`` where no row was measured.

    Attributes:
        visual_tokens: visual tokens of all questions; a page with two questions counts twice.
        kept_tokens: visual tokens left after pruning.
        retention: mean retention of the rows, in 0..1.
        kv_bytes_full: size of the KV caches without pruning, in bytes.
        kv_bytes_kept: size of the KV caches with pruning, in bytes.
        new_tokens: number of generated tokens.
        asked_again: number of answers that were asked for again without pruning.
        changed_again: number of those that came out otherwise than with pruning.
        looked_again: number of answers that were asked for again, on the page at another size.
        later_taken: number of those that came out otherwise than at the first look.
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
    looked_again: int = 0
    later_taken: int = 0
    skipped_questions: int = 0
    skipped_pages: int = 0


def read_totals(folder: Folder) -> Totals:
    """Add up the published rows of some units.

    Args:
        folder: the output folder.

    Raises:
        UsageError: a file is damaged.
        EngineError: a file cannot be read.
    """
    sums: dict[str, int | None] = dict.fromkeys(_SUMS)
    shares, measured = 0.0, 0
    again, changed, looked, taken = 0, 0, 0, 0
    skipped = 0
    for name in folder.names("answers", ".parquet"):  # one at a time, as all of them need not fit into memory
        rows = read_current(folder, name, [*_COLUMNS, *_SUMS])
        for column in _SUMS:
            part = pc.sum(rows[column]).as_py()
            if part is not None:
                sums[column] = part + (sums[column] or 0)
        measured += pc.count(rows["retention"]).as_py()
        shares += pc.sum(rows["retention"]).as_py() or 0.0
        again += pc.count(rows["fallback"]).as_py()
        changed += pc.sum(pc.not_equal(rows["answer"], rows["pruned_answer"])).as_py() or 0
        twice = rows.select(["answer", "look", "other_answers"]).filter(pc.is_valid(rows["other_answers"]))
        looked += twice.num_rows
        taken += sum(
            row["look"] > 1 and row["other_answers"][0]["answer"] != row["answer"] for row in twice.to_pylist()
        )
        skipped += pc.sum(pc.equal(rows["status"], "skipped")).as_py() or 0
    retention = shares / measured if measured else None
    return Totals(
        **sums,
        retention=retention,
        asked_again=again,
        changed_again=changed,
        looked_again=looked,
        later_taken=taken,
        skipped_questions=skipped,
        skipped_pages=_skipped_pages(folder) if skipped else 0,
    )


def _skipped_pages(folder: Folder) -> int:
    """Count the pages of which all current rows were skipped; a page may be in several files."""
    with Scratch() as scratch:
        scratch.create("page_rows", _PAGE_ROWS)
        for name in folder.names("answers", ".parquet"):
            rows = by_page(read_current(folder, name, ["document_id", "pages", "status"]))
            is_skipped = pc.equal(rows["status"], "skipped")
            scratch.add("page_rows", rows.drop_columns(["status"]).append_column("skipped", is_skipped))
        return scratch.value(
            "select count(*) from (select 1 from page_rows group by document_id, page having bool_and(skipped))"
        )


_PAGE_ROWS = pa.schema([("document_id", pa.string()), ("page", pa.int32()), ("skipped", pa.bool_())])
