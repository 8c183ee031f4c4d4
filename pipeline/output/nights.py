"""Keeps a record of every night in the output folder, and the documents of the last one that ended well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import UsageError
from pipeline.output.folder import Folder
from pipeline.output.json_files import Moment
from pipeline.output.schema import LISTING
from pipeline.output.tables import read_batches, write_batches

_FOLDER = "nights"
_ROWS_AT_A_TIME = 200_000
_LISTING = f"{_FOLDER}/listing.parquet"


class Night(BaseModel):
    """What one night came to; shares and means are those of the answers that it computed.

    Attributes:
        run_id: id of its run, which its answers carry.
        started_at: start of the run, in UTC.
        finished_at: end of the run, in UTC.
        wall_s: duration of the run, in seconds.
        exit_code: exit code of the command.
        error: why the run ended early; ``None`` if it did not.
        documents: number of documents that it covers.
        new_documents: number of documents that the night before did not have; ``None`` in the first night.
        changed_documents: number of documents whose content changed.
        deleted_documents: number of documents that are gone.
        questions: identity of each question, by its id.
        new_questions: ids of questions that the night before did not have.
        reworded_questions: ids of questions whose content changed.
        gone_questions: ids of questions that are no longer asked.
        rows: number of answers that it computed.
        pending: number of planned answers that it left.
        statuses: number of its answers by status.
        failures: number of its failures by type.
        review_reasons: number of its answers to review by reason.
        failed_share: share of failed answers, in 0..1; ``None`` without answers.
        review_share: share of answers to review, in 0..1.
        retention: mean retention, in 0..1; ``None`` where nothing was measured.
        confidence: mean calibrated confidence, in 0..1.
        confidence_raw: mean of ``confidence_raw``, in 0..1.
        pages_per_s: pages per second of the engine.
        drift: what left its threshold, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    started_at: Moment
    finished_at: Moment
    wall_s: float
    exit_code: int
    error: str | None
    documents: int
    new_documents: int | None
    changed_documents: int | None
    deleted_documents: int | None
    questions: dict[str, str]
    new_questions: list[str]
    reworded_questions: list[str]
    gone_questions: list[str]
    rows: int
    pending: int
    statuses: dict[str, int]
    failures: dict[str, int]
    review_reasons: dict[str, int]
    failed_share: float | None
    review_share: float | None
    retention: float | None
    confidence: float | None
    confidence_raw: float | None
    pages_per_s: float | None
    drift: list[str] = []


def read_nights(folder: Folder, most: int) -> list[Night]:
    """Read the last nights, oldest first.

    Args:
        folder: the output folder.
        most: largest number of nights.

    Raises:
        UsageError: a record is damaged.
        EngineError: a record cannot be read.
    """
    return [_read(folder, name) for name in folder.names(_FOLDER, ".json")[-most:]]


def write_night(folder: Folder, night: Night, listing: Iterable[pa.Table]) -> None:
    """Write the record of a night, and its documents if no answer is missing.

    Args:
        folder: the output folder.
        night: the night.
        listing: its documents, with the columns of ``LISTING``, a few at a time.

    Raises:
        OutputError, EngineError: the file system refuses.
    """
    if night.error is None and night.pending == 0:
        write_batches(folder, _LISTING, LISTING, listing)
    folder.write(f"{_FOLDER}/{night.run_id}.json", (night.model_dump_json(indent=2) + "\n").encode())


def last_listing(folder: Folder) -> Iterator[pa.Table] | None:
    """Return the documents of the last night without missing answers, a few at a time; ``None`` before the first.

    Args:
        folder: the output folder.

    Raises:
        UsageError: the file is damaged.
        EngineError: the file cannot be read.
    """
    if _LISTING not in folder.names(_FOLDER, ".parquet"):
        return None
    return read_batches(folder, _LISTING, LISTING.names, _ROWS_AT_A_TIME)


def changed_content(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[list[str], list[str], list[str]]:
    """List which keys are new, which have another value, and which are gone.

    Args:
        before: identities by id.
        now: identities by id.
    """
    new = sorted(now.keys() - before.keys())
    changed = sorted(key for key in now.keys() & before.keys() if now[key] != before[key])
    return new, changed, sorted(before.keys() - now.keys())


def _read(folder: Folder, name: str) -> Night:
    try:
        return Night.model_validate_json(folder.read(name) or b"")
    except ValidationError as error:
        raise UsageError(
            f"{folder.uri}/{name} is damaged: {error.errors()[0]['msg']}; delete it, and the night is left out where "
            "later ones are compared"
        ) from error
