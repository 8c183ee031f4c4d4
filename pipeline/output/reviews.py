"""Keeps what people say of answers: corrections, as rows of their own beside what the model said.

A correction belongs to one question on one page, by ``unit_id`` and ``page``, so it outlives runs and publications. Of
several to the same row the latest counts. Files are only added.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output.asked import read_asked
from pipeline.output.folder import Folder
from pipeline.output.schema import ANSWERS, REVIEWS, VALUE_COLUMNS
from pipeline.output.tables import read_footers, read_tables, write_table
from pipeline.output.typed import value_columns
from pipeline.questions.no_answer import person_says_no_answer
from pipeline.questions.values import Parsed, Reading

_FOLDER = "reviews"
_KIND = "kind"  # footer entry by which a file is known as one of ours
_TYPED = [pa.field(f"reviewed_{name}", ANSWERS.field(name).type) for name in VALUE_COLUMNS]
REVIEWED = pa.schema([*REVIEWS, pa.field("status", pa.string()), *_TYPED, pa.field("value_error", pa.string())])
"""The corrections that count, with what they stand for: columns of ``reviews/``, a status and typed values."""

_OF_THE_PLACE = ("evidence", "evidence_source", "evidence_text", "on_page")
_IN_PLACE = {"answer": "reviewed_answer", "status": "status", "value_error": "value_error"}
_IN_PLACE |= {name: f"reviewed_{name}" for name in VALUE_COLUMNS}


def add_reviews(folder: Folder, rows: Iterable[Mapping[str, Any]], now: datetime | None = None) -> None:
    """Add corrections in one step; the caller holds the lock of the folder.

    Args:
        folder: the output folder.
        rows: one mapping per correction, with the columns of ``REVIEWS`` but for the time.
        now: time of the corrections, by default this moment.

    Raises:
        OutputError, EngineError: the file system refuses.
    """
    at = now or datetime.now(UTC)
    table = pa.Table.from_pylist([{**row, "reviewed_at": at} for row in rows], schema=REVIEWS)
    name = f"{_FOLDER}/{at:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}.parquet"
    write_table(folder, name, table, **{_KIND: _FOLDER})


def read_reviews(folder: Folder) -> pa.Table:
    """Read the corrections that count, typed by the present types of their questions.

    Args:
        folder: the output folder.

    Returns:
        A table with the columns of ``REVIEWED``, one row per question and page.

    Raises:
        UsageError: a file is damaged.
        EngineError: a file cannot be read.
    """
    names = folder.names(_FOLDER, ".parquet")
    if not names:
        return REVIEWED.empty_table()
    read_footers(folder, names, _KIND)
    latest: dict[tuple[str, int], dict[str, Any]] = {}
    for table in read_tables(folder, names, REVIEWS.names):  # sorted by time, as their names are
        latest.update({(row["unit_id"], row["page"]): row for row in table.to_pylist()})
    readings = read_asked(folder).readings
    rows = [row | _typed(row, readings.get(row["question_id"], Reading())) for row in latest.values()]
    return pa.Table.from_pylist(rows, schema=REVIEWED)


def with_reviews(rows: pa.Table, reviews: pa.Table) -> pa.Table:
    """Put what people said in the place of what the model said, and say so in a column ``reviewed``.

    A reviewed row has no confidence and no reasons for review. Evidence stays where the answer was confirmed.

    Args:
        rows: rows of ``answers``.
        reviews: what :func:`read_reviews` returns.
    """
    keys = [_keys(table) for table in (rows, reviews)]
    place = pc.index_in(keys[0], value_set=keys[1])
    found = pc.is_valid(place)
    confirmed = pc.equal(reviews["answer"], reviews["reviewed_answer"]).fill_null(False).take(place).fill_null(False)
    emptied = {"review_reasons": found, "confidence": found}
    emptied |= {name: pc.and_(found, pc.invert(confirmed)) for name in _OF_THE_PLACE}
    for name in rows.column_names:
        column = None
        if name in _IN_PLACE:
            column = pc.if_else(found, reviews[_IN_PLACE[name]].take(place), rows[name])
        elif name in emptied:
            column = pc.if_else(emptied[name], pa.scalar(None, rows[name].type), rows[name])
        if column is not None:
            rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows.append_column("reviewed", found)


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    keys = pc.binary_join_element_wise(rows["unit_id"], pc.cast(rows["page"], pa.string()), "/")
    return keys.combine_chunks()


def _typed(row: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    answer = row["reviewed_answer"]
    if person_says_no_answer(answer):
        return {"status": "not_answerable"}
    parsed: Parsed = reading.value_of(answer)
    values = {f"reviewed_{name}": value for name, value in value_columns(parsed.value).items()}
    status = "answered" if parsed.error is None else "needs_review"
    return {"status": status, **values, "value_error": parsed.error}
