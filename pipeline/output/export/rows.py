"""Reads the current answers for an export, with what people corrected; memory does not grow with their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.output.aggregate import made_of
from pipeline.output.asked import Asked
from pipeline.output.current import read_current
from pipeline.output.export.base import Level, Row
from pipeline.output.folder import Folder
from pipeline.output.publish import DOCUMENTS_FILE, PAGES_FILE, check_tables
from pipeline.output.reviews import read_reviews, with_reviews
from pipeline.output.schema import DOCUMENTS, PAGES
from pipeline.output.summaries import DOCUMENT_COLUMNS, by_page, document_table
from pipeline.output.tables import read_batches
from pipeline.scratch import Scratch
from pipeline.sorting import bounds_of, in_order

ROWS_AT_A_TIME = 200_000  # of answers in memory
_BATCH = 5_000
_OF_ANSWERS = ("unit_id", "review_reasons", "value_error", "confidence_raw", "evidence", "evidence_text", "on_page")
_COLUMNS = tuple(dict.fromkeys((*DOCUMENT_COLUMNS, *_OF_ANSWERS)))
_OF_DOCUMENTS = (*(name for name in DOCUMENT_COLUMNS if name not in _OF_ANSWERS), "chosen_by")
_GROUP = ("document_id", "question_id")
_CONFIDENCES = ("confidence", "confidence_raw")
_SIZES = ("width_pt", "height_pt")
_OF_PAGES = ("document_id", "page", *_SIZES)


def count_rows(folder: Folder, level: Level) -> int:
    """Count the rows that :func:`read_rows` will give.

    Args:
        folder: the output folder.
        level: ``documents`` or ``pages``.

    Raises:
        UsageError: the folder holds no answers, or a file is damaged.
        EngineError: a file cannot be read.
    """
    names = answer_files(folder)
    if level == "documents":
        return sum(len(rows) for rows in read_batches(folder, DOCUMENTS_FILE, ["document_id"], ROWS_AT_A_TIME))
    return sum(len(read_current(folder, name, ["document_id"])) for name in names)


def read_rows(folder: Folder, asked: Asked, level: Level) -> Iterator[Row]:
    """Read the current answers, in the order of documents, pages and questions.

    Args:
        folder: the output folder.
        asked: the questions of the last run.
        level: ``documents`` for one row per document and question, ``pages`` for one per page and question.

    Raises:
        UsageError: the folder holds no answers, or a file is damaged.
        EngineError: a file cannot be read.
        OutputError: the temporary folder is full.
    """
    names, reviews = answer_files(folder), read_reviews(folder)
    order = pa.array(list(asked.readings), pa.string())
    with Scratch() as scratch:
        _fill(scratch, "documents", _OF_DOCUMENTS, DOCUMENTS, _batches(folder, DOCUMENTS_FILE, _OF_DOCUMENTS))
        _fill(scratch, "pages", _OF_PAGES, PAGES, _batches(folder, PAGES_FILE, _OF_PAGES))
        bounds = bounds_of((read_current(folder, name, ["document"])["document"] for name in names), ROWS_AT_A_TIME)
        for answers in in_order((read_current(folder, name, _COLUMNS) for name in names), bounds, ("document",)):
            rows = with_reviews(answers, reviews)
            if level == "documents":
                rows = _of_documents(scratch, rows, asked)
            rows = _with_sizes(scratch, rows)
            rows = rows.append_column("place_in_file", pc.index_in(rows["question_id"], value_set=order))
            keys = ("document", "document_id", "page", "place_in_file")
            if level == "documents":
                keys = ("document", "document_id", "place_in_file", "page")
            rows = rows.sort_by([(key, "ascending") for key in keys])
            for batch in rows.to_batches(max_chunksize=_BATCH):
                for row in batch.to_pylist():
                    yield {**row, "place": asked.asked.places.get(row["question_id"])}


def answer_files(folder: Folder) -> list[str]:
    """List the published files of ``answers``, and check that all tables can be read.

    Args:
        folder: the output folder.

    Raises:
        UsageError: the folder holds no answers, or a file is damaged.
        EngineError: a file cannot be read.
    """
    names = folder.names("answers", ".parquet")
    if not names:
        raise UsageError(f"{folder.uri}: expected the --output of a run, found no answers/*.parquet in it")
    check_tables(folder)
    return names


def _batches(folder: Folder, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    return read_batches(folder, name, columns, ROWS_AT_A_TIME)


def _schema(columns: Sequence[str], schema: pa.Schema) -> pa.Schema:
    return pa.schema([schema.field(name) for name in columns])


def _fill(scratch: Scratch, table: str, columns: Sequence[str], schema: pa.Schema, rows: Iterable[pa.Table]) -> None:
    scratch.create(table, _schema(columns, schema))
    for few in rows:
        scratch.add(table, few)


def _about(scratch: Scratch, table: str, rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Read what a table has about the documents of some rows."""
    ids = pa.table({"document_id": pc.unique(rows["document_id"])})
    found = scratch.read_with(ids, f"select t.* from {table} t semi join given using (document_id)")
    return found.cast(_schema(found.column_names, schema))


def _of_documents(scratch: Scratch, answers: pa.Table, asked: Asked) -> pa.Table:
    """Take the rows of ``documents``; where a page was reviewed, what its answers come to now."""
    documents = _about(scratch, "documents", answers, DOCUMENTS)
    group, groups = _key(answers, *_GROUP), _key(documents, *_GROUP)
    corrected = pc.unique(group.filter(answers["reviewed"].combine_chunks()))
    stale = pc.is_in(groups, value_set=corrected)
    again = answers.filter(pc.is_in(group, value_set=corrected))
    # What a person said is certain, so it wins over what the model said of other pages.
    for name in _CONFIDENCES:
        certain = pc.if_else(again["reviewed"], 1.0, again[name])
        again = again.set_column(again.column_names.index(name), name, certain)
    made = document_table(again.select(DOCUMENT_COLUMNS), asked.readings).select(_OF_DOCUMENTS)
    documents = pa.concat_tables([documents.filter(pc.invert(stale)), made])
    keys = ("document_id", "question_id", "page")
    chosen = pc.index_in(_key(documents, *keys), value_set=_key(answers, *keys))
    for name in (*_OF_ANSWERS, "reviewed"):
        documents = documents.append_column(name, answers[name].take(chosen))
    whole = pc.is_in(_key(documents, *_GROUP), value_set=_said_by_people(again))
    several = pc.is_null(documents["page"])  # without a page, the row is made of all
    reviewed = pc.if_else(several, whole, documents["reviewed"])
    documents = documents.set_column(documents.column_names.index("reviewed"), "reviewed", reviewed)
    unsure = pc.if_else(reviewed, pa.scalar(None, pa.float64()), documents["confidence"])
    return documents.set_column(documents.column_names.index("confidence"), "confidence", unsure)


def _said_by_people(answers: pa.Table) -> pa.Array:
    """Return the keys of the documents and questions of which people said all that an aggregate is made of."""
    groups = defaultdict[str, list[dict[str, Any]]](list)
    columns = ("status", "answer", "value", "reviewed")
    for key, row in zip(_key(answers, *_GROUP).to_pylist(), answers.select(columns).to_pylist(), strict=True):
        groups[key].append(row)
    parts = {key: made_of(rows) for key, rows in groups.items()}
    said = [key for key, rows in parts.items() if rows and all(row["reviewed"] for row in rows)]
    return pa.array(said, pa.string())


def _with_sizes(scratch: Scratch, rows: pa.Table) -> pa.Table:
    """Add the sizes of all pages of each row, as a list."""
    pages = _about(scratch, "pages", rows, PAGES)
    mine = by_page(rows.select(["document_id", "pages"]))
    found = pc.index_in(_key(mine, "document_id", "page"), value_set=_key(pages, "document_id", "page"))
    columns = [mine["page"], *(pages[name].take(found) for name in _SIZES)]
    sizes = pa.StructArray.from_arrays([column.combine_chunks() for column in columns], ["page", *_SIZES])
    counts = pc.fill_null(pc.list_value_length(rows["pages"].combine_chunks()), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], counts.cumsum()]), pa.int32())
    return rows.append_column("sizes", pa.ListArray.from_arrays(offsets, sizes))


def _key(rows: pa.Table, *names: str) -> pa.Array:
    """Join columns into one; the key of a row without a page is null, and is found nowhere."""
    parts: Sequence[pa.ChunkedArray] = [pc.cast(rows[name], pa.string()) for name in names]
    return pc.binary_join_element_wise(*parts, "/").combine_chunks()
