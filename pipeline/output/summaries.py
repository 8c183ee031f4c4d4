"""Computes the rows of ``pages/`` and ``documents/``, the two tables that are rewritten as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.aggregate import aggregate
from pipeline.output.schema import COMMITTED, DOCUMENTS, PAGES, VALUE_COLUMNS
from pipeline.questions.values import Reading
from pipeline.scratch import Scratch, portions

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


class PageRows:
    """Gathers in a scratch database what the rows of ``pages`` are made of.

    Args:
        scratch: database that holds it, with the table ``documents`` of the plan.
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._places = 0
        scratch.create("page_reports", pa.schema([("place", pa.int32()), *COMMITTED["pages"]]))
        scratch.create("page_figures", _FIGURES)

    def add_reports(self, reports: pa.Table) -> None:
        """Add rows of ``pages``; of each page the first value counts that is not null, and the highest peaks.

        Args:
            reports: the rows, behind those that were added before.
        """
        places = pa.array(range(self._places, self._places + len(reports)), pa.int32())
        self._scratch.add("page_reports", reports.append_column("place", places))
        self._places += len(reports)

    def add_answers(self, answers: pa.Table) -> None:
        """Add answers, whose retention is that of their pages, and of which one makes a page current.

        Args:
            answers: rows of ``answers`` with ``PAGE_COLUMNS``.
        """
        self._scratch.add("page_figures", by_page(answers).select(_FIGURES.names))

    def read(self) -> Iterator[pa.Table]:
        """Yield one row per page, even if questions added later read the page again, sorted by document and page."""
        for rows in self._scratch.read(_PAGE_ROWS):
            yield rows.select(PAGES.names)

    def drop(self) -> None:
        """Forget all rows."""
        for table in ("page_reports", "page_figures"):
            self._scratch.run(f"drop table {table}")


_FIGURES = pa.schema(
    [(name, PAGES.field(name).type) for name in _PAGE_KEY] + [("retention", pa.float64()), ("is_current", pa.bool_())]
)
_FIRST = [name for name in PAGES.names if name not in (*_PAGE_KEY, *_FROM_ANSWERS, *_PEAKS)]
# A sum of floats depends on their order, so they are sorted first.
_PAGE_ROWS = f"""
    with figures as (
        select document_id, page,
            list_avg(list(retention order by retention) filter (where retention is not null)) as retention_mean,
            min(retention) as retention_min, max(retention) as retention_max, bool_or(is_current) as is_current
        from page_figures group by document_id, page
    ), reports as (
        select document_id, page, {", ".join(f"arg_min({name}, place) as {name}" for name in _FIRST)},
            {", ".join(f"max({name}) as {name}" for name in _PEAKS)}
        from page_reports group by document_id, page
    )
    select r.* replace (coalesce(d.source, r.source) as source), {", ".join(f"f.{name}" for name in _FROM_ANSWERS)}
    from reports r left join figures f on f.document_id = r.document_id and f.page = r.page
        left join documents d on d.document_id = r.document_id
    order by r.document, r.document_id, r.page
"""


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
        for chunk in portions(_document_rows(_dicts(rows), readings), _ROWS_AT_A_TIME)
    ]
    return pa.Table.from_batches(batches, schema=DOCUMENTS)


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
