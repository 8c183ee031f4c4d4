"""Reads what a run published, for people to look at; tables of other versions of docpipe too, as far as they go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.output.folder import Folder
from pipeline.output.json_files import QUESTION, check_run, check_settings
from pipeline.output.reviews import read_reviews, with_reviews
from pipeline.output.schema import TABLES

_NEEDED = {
    "answers": ("document_id", "source", "document", "page", "question_id", "unit_id", "status", "answer"),
    "pages": ("document_id", "document", "page"),
    "failures": ("unit_id", "document_id", "document", "page", "question_id", "error_type", "error_message", "command"),
}
_OF_MODEL = ("answer", "value", "confidence")
_MADE_AGAIN = "delete it, and the next run makes its content again"
_ROWS_AT_A_TIME = 50_000
_DIGITS = 8  # of a document id, which has more
_Among = Callable[[pa.ChunkedArray], pa.ChunkedArray]


@dataclass(frozen=True, slots=True)
class Published:
    """The current rows of an output folder.

    Attributes:
        uri: address of the folder.
        answers: current rows of ``answers``, with the columns of the present schema; one that the folder does not have
            is null. Behind them are ``reviewed``, and of rows that a person has reviewed ``model_answer``,
            ``model_value`` and ``model_confidence``; their other columns have what the person said, as exports have.
        pages: current rows of ``pages``.
        failures: current rows of ``failures``.
        run: content of ``run.json``; empty if there is none yet.
        questions: text of each question, by id.
        share: share of the documents whose rows these are, in 0..1.
    """

    uri: str
    answers: pa.Table
    pages: pa.Table
    failures: pa.Table
    run: dict[str, Any]
    questions: dict[str, str]
    share: float = 1.0


def share_within(folders: Sequence[Folder], most_rows: int) -> float:
    """Return the share of the documents of which each folder has about as many answers as memory takes.

    Args:
        folders: output folders.
        most_rows: number of answers from which on a share is taken.

    Raises:
        UsageError: a file is damaged.
        EngineError: a file cannot be read.
    """
    rows = max(sum(_count(folder, name) for name in folder.names("answers", ".parquet")) for folder in folders)
    return min(1.0, most_rows / max(1, rows))


def _count(folder: Folder, name: str) -> int:
    with _explained(folder, name, _MADE_AGAIN), folder.open(name) as file:
        return int(pq.read_metadata(file).num_rows)


def read_published(folder: Folder, share: float = 1.0, document_id: str | None = None) -> Published:
    """Read the current rows of an output folder.

    Args:
        folder: the output folder.
        share: share of the documents whose rows are read, in 0..1; which these are follows from their ids, which are
            hashes.
        document_id: the one document whose rows are read; ``None`` for all.

    Raises:
        UsageError: the folder is not one of docpipe, or a file in it is damaged.
        EngineError: a file cannot be read.
    """
    check_published(folder)
    among: _Among | None = None
    if document_id is not None:
        among = partial(pc.equal, document_id)
    elif share < 1.0:
        among = partial(pc.greater, f"{int(share * 16**_DIGITS):0{_DIGITS}x}")
    tables = {name: _current(folder, name, among) for name in TABLES}
    tables["answers"] = _with_reviews(tables["answers"], read_reviews(folder))
    run = _json(folder, "run.json", check_run)
    return Published(folder.uri, **tables, run=run, questions=_questions(folder), share=share)


def check_published(folder: Folder) -> None:
    """Make sure that a folder holds answers.

    Args:
        folder: the output folder.

    Raises:
        UsageError: it holds none.
        EngineError: it cannot be listed.
    """
    if not folder.names("answers", ".parquet"):
        raise UsageError(
            f"{folder.uri}: expected the output folder of `docpipe run`, found no answers in it; name what --output of "
            "that run names"
        )


def current_batches(
    folder: Folder, table: str, columns: Sequence[str], among: _Among | None = None
) -> Iterator[pa.Table]:
    """Read some columns of the current rows of a table, a portion at a time.

    Args:
        folder: the output folder.
        table: name of the table.
        columns: columns of the present schema; of those that a file does not have, there is none.
        among: tells of document ids which ones are wanted; ``None`` takes all.

    Raises:
        UsageError: a file is damaged, or has no column that every version wrote.
        EngineError: a file cannot be read.
    """
    for name in folder.names(table, ".parquet"):
        for rows in _read(folder, name, (*_NEEDED[table], "is_current"), (*columns, "is_current"), _MADE_AGAIN):
            kept = rows["is_current"]
            yield rows.filter(kept if among is None else pc.and_(kept, among(rows["document_id"])))


def _current(folder: Folder, table: str, among: _Among | None) -> pa.Table:
    schema = TABLES[table]
    whole = [schema.empty_table()]
    for mine in current_batches(folder, table, [name for name in schema.names if name != "is_current"], among):
        whole.append(pa.table([_column(mine, field) for field in schema], schema=schema))
    return pa.concat_tables(whole)


def _read(folder: Folder, name: str, needed: Sequence[str], wanted: Sequence[str], remedy: str) -> Iterator[pa.Table]:
    with _explained(folder, name, remedy), folder.open(name) as file:
        parquet = pq.ParquetFile(file)
        there = set(parquet.schema_arrow.names)
        missing = [column for column in needed if column not in there]
        if missing:
            raise UsageError(
                f"{folder.uri}/{name} has no column {missing[0]}; it was made by another program or by an old "
                "version of docpipe: run that one again into another folder"
            )
        for batch in parquet.iter_batches(_ROWS_AT_A_TIME, columns=[column for column in wanted if column in there]):
            yield pa.Table.from_batches([batch])


@contextmanager
def _explained(folder: Folder, name: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        raise UsageError(f"{folder.uri}/{name} is damaged: {error}; {remedy}") from error


def _with_reviews(answers: pa.Table, reviews: pa.Table) -> pa.Table:
    """Put what people said in the place of what the model said, as exports do, and keep the latter beside it."""
    corrected = with_reviews(answers, reviews)
    for name in _OF_MODEL:
        kept = pc.if_else(corrected["reviewed"], answers[name], pa.scalar(None, answers[name].type))
        corrected = corrected.append_column(f"model_{name}", kept)
    return corrected


def _column(rows: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    if field.name not in rows.column_names:
        return pa.nulls(len(rows), field.type)
    column = rows[field.name]
    return column if column.type == field.type else column.cast(field.type)


def _questions(folder: Folder) -> dict[str, str]:
    settings = _json(folder, "settings.json", lambda found: check_settings(found, {}))
    asked = {key.removeprefix(QUESTION): kept for key, kept in settings.items() if key.startswith(QUESTION)}
    return {name: str(kept["fields"]["text"]) for name, kept in asked.items()}


def _json(folder: Folder, name: str, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    raw = folder.read(name)
    try:
        found = {} if raw is None else json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{folder.uri}/{name} is not valid JSON: {error}; the next run writes it again") from error
    if not isinstance(found, dict):
        raise UsageError(f"{folder.uri}/{name}: expected a JSON object; the next run writes it again")
    try:
        check(found)
    except ValueError as error:
        raise UsageError(f"{folder.uri}/{name} is damaged: {error}") from error
    return found


def rows_of(table: pa.Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return some columns of a table as one dictionary per row.

    Args:
        table: any table.
        columns: names of the columns.
    """
    return table.select(list(columns)).to_pylist()  # type: ignore[no-any-return]
