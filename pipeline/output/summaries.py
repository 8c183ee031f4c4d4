"""Computes ``pages/`` and ``documents/``, the two tables that are rewritten as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.aggregate import aggregate
from pipeline.output.schema import COMMITTED, DOCUMENTS, PAGES, VALUE_COLUMNS
from pipeline.questions.values import Reading

PAGE_COLUMNS = ("document_id", "pages", "retention", "is_current")
DOCUMENT_COLUMNS = (
    *("document_id", "source", "document", "question_id", "run_id", "answered_at"),
    *("page", "pages", "status", "answer", "confidence", "confidence_raw"),
    *VALUE_COLUMNS,
)
_PAGE_KEY = ["document_id", "page"]
_FROM_ANSWERS = ("retention_mean", "retention_min", "retention_max", "is_current")
_PEAKS = ("peak_memory_bytes", "peak_rss_bytes")
_ROWS_AT_A_TIME = 10_000


def page_table(reports: Sequence[pa.Table], answers: Sequence[pa.Table]) -> pa.Table:
    """Make one row per page, even if questions added later read the page again.

    Args:
        reports: rows of ``pages``, earliest first; each page keeps its first row, with the highest peaks of all.
        answers: all rows of ``answers`` with ``PAGE_COLUMNS``; retention figures cover all questions of a page, also
            those about several together, and it is current if one of its answers is.
    """
    rows = pa.concat_tables([COMMITTED["pages"].empty_table(), *reports])
    first = [name for name in PAGES.names if name not in (*_PAGE_KEY, *_FROM_ANSWERS, *_PEAKS)]
    pages = _grouped(rows, [*((name, "first") for name in first), *((name, "max") for name in _PEAKS)])
    pages = pages.rename_columns([*_PAGE_KEY, *first, *_PEAKS])
    if answers:
        figures = [*(("retention", how) for how in ("mean", "min", "max")), ("is_current", "any")]
        found = _grouped(by_page(pa.concat_tables(answers)), figures)
    else:
        found = PAGES.empty_table().select([*_PAGE_KEY, *_FROM_ANSWERS])
    joined = pages.join(found.rename_columns([*_PAGE_KEY, *_FROM_ANSWERS]), _PAGE_KEY)
    return (
        joined.select(PAGES.names)
        .sort_by([("document", "ascending"), ("document_id", "ascending"), ("page", "ascending")])
        .cast(PAGES)
    )


def by_page(rows: pa.Table) -> pa.Table:
    """Give each page that an answer is about a row of its own, with ``page`` in the place of ``pages``.

    Args:
        rows: rows of ``answers``; one without a page is left out.
    """
    pages = rows["pages"].combine_chunks()
    alone = rows.drop_columns(["pages"]).take(pc.list_parent_indices(pages))
    return alone.append_column("page", pages.flatten())


def document_table(answers: Sequence[pa.Table], readings: Mapping[str, Reading]) -> pa.Table:
    """Make one row per document and question.

    Args:
        answers: the current rows of ``answers`` with ``DOCUMENT_COLUMNS``.
        readings: how the answers to each question are read, by its id; ``best`` for questions that are not listed.
    """
    if not answers:
        return DOCUMENTS.empty_table()
    order = [(name, "ascending") for name in ("document", "document_id", "question_id", "page")]
    rows = pa.concat_tables(answers).sort_by(order)
    batches = [
        pa.RecordBatch.from_pylist(chunk, schema=DOCUMENTS)
        for chunk in _chunked(_document_rows(_dicts(rows), readings))
    ]
    return pa.Table.from_batches(batches, schema=DOCUMENTS)


def _grouped(rows: pa.Table, aggregations: list[tuple[str, str]]) -> pa.Table:
    # Without threads, the groups and the first row of each follow the order of the rows.
    return rows.group_by(_PAGE_KEY, use_threads=False).aggregate(aggregations)


def _dicts(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_A_TIME):
        yield from batch.to_pylist()


def _document_rows(rows: Iterable[dict[str, Any]], readings: Mapping[str, Reading]) -> Iterator[dict[str, Any]]:
    for (document_id, question_id), group in groupby(rows, key=lambda row: (row["document_id"], row["question_id"])):
        mine = list(group)
        chosen = aggregate(readings.get(question_id, Reading()).aggregate, mine)
        newest = max(mine, key=lambda row: row["answered_at"])
        shared = {name: newest[name] for name in ("source", "document", "run_id", "answered_at")}
        yield {"document_id": document_id, "question_id": question_id, "is_current": True, **shared, **chosen}


def _chunked(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, _ROWS_AT_A_TIME)):
        yield chunk
