"""Computes the rows of ``pages/`` and ``documents/``, the two tables that are rewritten as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.aggregate import CHOSEN, Choice, aggregate
from pipeline.output.schema import COMMITTED, DOCUMENTS, PAGES, VALUE_COLUMNS
from pipeline.questions.values import Reading
from pipeline.scratch import Scratch
from pipeline.sorting import bounds_of, in_order

PAGE_COLUMNS = ("document_id", "pages", "retention", "is_current")
DOCUMENT_COLUMNS = (
    *("document_id", "source", "document", "question_id", "run_id", "answered_at"),
    *("page", "pages", "status", "answer", "confidence", "confidence_raw"),
    *VALUE_COLUMNS,
)
_PAGE_KEY = ["document_id", "page"]
_RETENTION = ("retention_mean", "retention_min", "retention_max")
_PEAKS = ("peak_memory_bytes", "peak_rss_bytes")
_FIRST = [name for name in PAGES.names if name not in (*_PAGE_KEY, *_PEAKS)]
_BEST = Reading()


class PageRows:
    """Gathers in a scratch database what the rows of ``pages`` are made of.

    Args:
        scratch: database that holds it, with the table ``documents`` of the plan.
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._places = 0
        scratch.create("page_reports", pa.schema([("place", pa.int32()), *COMMITTED["pages"]]))
        scratch.run(_FIGURES)

    def add_reports(self, tables: Sequence[pa.Table]) -> None:
        """Add rows of ``pages``; of each page the first value counts that is not null, and the highest peaks.

        Args:
            tables: the rows, behind those that were added before.
        """
        reports = pa.concat_tables([COMMITTED["pages"].empty_table(), *tables])
        places = pa.array(range(self._places, self._places + len(reports)), pa.int32())
        self._scratch.add("page_reports", reports.append_column("place", places))
        self._places += len(reports)

    def add_answers(self, answers: pa.Table) -> None:
        """Add answers, whose retention is that of their pages, and of which one makes a page current.

        Args:
            answers: rows of ``answers`` with ``PAGE_COLUMNS``.
        """
        self._scratch.run_with(by_page(answers), _ADD_FIGURES)

    def read(self) -> Iterator[pa.Table]:
        """Yield one row per page, even if questions added later read the page again, sorted by document and page."""
        names = (rows["document"] for rows in self._scratch.read("select document from page_reports"))
        bounds = bounds_of(names, _ROWS_AT_A_TIME)
        for rows in in_order(self._scratch.read(_PAGE_ROWS), bounds, ("document", *_PAGE_KEY, "place")):
            is_repeated = len(_starts(rows, _PAGE_KEY)) < len(rows)
            whole = self._scratch.read_with(rows, _MERGED) if is_repeated else rows
            yield whole.select(PAGES.names)

    def drop(self) -> None:
        """Forget all rows."""
        for table in ("page_reports", "page_figures"):
            self._scratch.run(f"drop table {table}")


_ROWS_AT_A_TIME = 50_000
_ONE = "9007199254740992.0"  # 2^53: as whole numbers, shares add up to the same in any order
_FIGURES = """
    create or replace table page_figures (
        document_id varchar, page integer, measured bigint, total hugeint, retention_min double, retention_max double,
        is_current boolean
    )
"""
_ADD_FIGURES = f"""
    insert into page_figures
    select document_id, page, count(retention), sum(try_cast(retention * {_ONE} as hugeint)), min(retention),
        max(retention), bool_or(is_current)
    from given group by document_id, page
"""
_PAGE_ROWS = f"""
    with figures as (
        select document_id, page, (sum(total) // sum(measured))::double / {_ONE} as retention_mean,
            min(retention_min) as retention_min, max(retention_max) as retention_max, bool_or(is_current) as is_current
        from page_figures group by document_id, page
    )
    select r.* exclude ({", ".join(_RETENTION)}) replace (coalesce(d.source, r.source) as source),
        {", ".join(f"f.{name}" for name in (*_RETENTION, "is_current"))}
    from page_reports r left join figures f on f.document_id = r.document_id and f.page = r.page
        left join documents d on d.document_id = r.document_id
"""
# What is merged fits into memory: DuckDB would keep the first value of every column of all pages there.
_MERGED = f"""
    select document_id, page, {", ".join(f"arg_min({name}, place) as {name}" for name in _FIRST)},
        {", ".join(f"max({name}) as {name}" for name in _PEAKS)}
    from given group by document_id, page order by document, document_id, page
"""


def by_page(rows: pa.Table) -> pa.Table:
    """Give each page that an answer is about a row of its own, with ``page`` in the place of ``pages``.

    Args:
        rows: rows of ``answers``; one without a page is left out.
    """
    pages = rows["pages"].combine_chunks()
    alone = rows.drop_columns(["pages"]).take(pc.list_parent_indices(pages))
    return alone.append_column("page", pages.flatten())


def document_table(answers: pa.Table, readings: Mapping[str, Reading]) -> pa.Table:
    """Make one row per document and question.

    Args:
        answers: current rows of ``answers`` with ``DOCUMENT_COLUMNS``.
        readings: how the answers to each question are read, by its id; ``best`` for questions that are not listed.
    """
    order = [(name, "ascending") for name in ("document", "document_id", "question_id", "page")]
    rows = answers.sort_by(order).combine_chunks()
    if not len(rows):
        return DOCUMENTS.empty_table()
    starts = _starts(rows, ("document_id", "question_id"))
    choices = list(_choices(rows, starts, readings))
    newest = rows.take(pa.array(_newest(rows, starts), pa.int64()))
    chosen = rows.select(CHOSEN).take(pa.array([choice.place for choice in choices], pa.int64()))
    columns = {name: newest[name] for name in _OF_NEWEST}
    changed = {name for choice in choices for name in choice.changes}
    columns |= {name: _changed(chosen[name], name, choices) if name in changed else chosen[name] for name in CHOSEN}
    columns |= {name: pa.array([getattr(choice, name) for choice in choices]) for name in ("pages_asked", "chosen_by")}
    columns["is_current"] = pa.repeat(pa.scalar(True), len(choices))
    return pa.table([columns[name] for name in DOCUMENTS.names], DOCUMENTS.names).cast(DOCUMENTS)


_OF_NEWEST = ("document_id", "source", "document", "question_id", "run_id", "answered_at")


def _starts(rows: pa.Table, key: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return where the rows of each key begin, of rows that are sorted by it."""
    new = np.ones(len(rows), bool)
    new[1:] = False
    for name in key:
        column = rows[name].combine_chunks()
        new[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(new)


def _choices(rows: pa.Table, starts: npt.NDArray[np.int64], readings: Mapping[str, Reading]) -> Iterator[Choice]:
    """Yield what is chosen from each group; only the columns that a choice depends on become Python's."""
    rules = {name: readings.get(name, _BEST).aggregate for name in rows["question_id"].unique().to_pylist()}
    names = [*_READ, *(_OF_VALUES if _SUMMED.intersection(rules.values()) else ())]
    found = zip(range(len(rows)), *(rows[name].to_pylist() for name in names), strict=True)
    keys = ("place", *names)
    ends = [*starts[1:].tolist(), len(rows)]
    for start, end in zip(starts.tolist(), ends, strict=True):
        group = [dict(zip(keys, row, strict=True)) for row in islice(found, end - start)]
        yield aggregate(rules[group[0]["question_id"]], group)


_READ = ("question_id", "status", "answer", "value", "confidence", "confidence_raw", "page", "pages")
_OF_VALUES = ("value_number", "value_currency", "value_date")
_SUMMED = {"sum", "min", "max"}


def _newest(rows: pa.Table, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the place of the answer of each group that came last, the first of several."""
    at = rows["answered_at"].cast(pa.int64()).to_numpy()
    groups = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
    is_newest = at == np.maximum.reduceat(at, starts)[groups]
    places = np.flatnonzero(is_newest)
    _, first = np.unique(groups[places], return_index=True)
    return places[first]


def _changed(column: pa.ChunkedArray, name: str, choices: Sequence[Choice]) -> pa.Array:
    """Put what a choice says otherwise in the place of what the chosen answer says."""
    values = zip(column.to_pylist(), choices, strict=True)
    return pa.array([choice.changes.get(name, value) for value, choice in values], column.type)
