"""Takes over the corrections of another output folder, also of one that an older version of docpipe wrote.

The ids of units differ between versions, so a correction is found again by document, page and question. What a person
said stays true as long as these are the same, whatever the model answers now.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.output.asked import read_asked
from pipeline.output.current import read_current
from pipeline.output.export.rows import answer_files
from pipeline.output.folder import Folder
from pipeline.output.lock import OutputLock
from pipeline.output.reviews import add_reviews, read_reviews
from pipeline.output.schema import REVIEWS
from pipeline.questions.no_answer import person_says_no_answer
from pipeline.questions.values import Reading

_PLACE = ("unit_id", "page", "pages", "document_id", "document_sha256", "document", "question_id", "answer")
_SAID = ("reviewed_answer", "comment", "reviewer")
_Answer = tuple[str, int]  # unit id, page
_Key = tuple[str, tuple[int, ...], str]  # document id or hash of the content, pages, question


@dataclass(slots=True)
class CarriedOver:
    """What became of the corrections of another folder.

    Attributes:
        added: number of new corrections.
        known: number of those whose answer has a correction here already, which stays.
        left: number of the others by reason.
    """

    added: int = 0
    known: int = 0
    left: Counter[str] = field(default_factory=Counter)


def take_over(folder: Folder, other: Folder) -> CarriedOver:
    """Add the corrections of another folder to the current answers about the same documents, pages and questions.

    Args:
        folder: the output folder that gets them.
        other: the output folder that has them, of any version.

    Raises:
        UsageError: a folder is none of docpipe, has no corrections, or a file in it is damaged.
        OutputError, EngineError: the file system refuses.
    """
    answer_files(folder)  # a folder of something else gets no lock
    said = _latest(other)
    if not said:
        raise UsageError(f"{other.uri}: expected the --output of a run with corrections, found none in it")
    texts, places = _texts(other), _places(other, said)
    with OutputLock(folder):
        asked = read_asked(folder)
        here = _current(folder, said, places)
        known = {(row["unit_id"], row["page"]) for row in read_reviews(folder).to_pylist()}
        done, new = CarriedOver(), []
        for row in said:
            found = _found(here, row, places.get((row["unit_id"], row["page"]), {}))
            reason = _refused(row, found, texts.get(row["question_id"]), asked.texts, asked.readings)
            if reason is not None or found is None:
                done.left[reason or ""] += 1
            elif (found["unit_id"], found["page"]) in known:
                done.known += 1
            else:
                kept = {name: found[name] for name in REVIEWS.names if name in found}
                new.append(kept | {name: row[name] for name in _SAID})
        if new:
            add_reviews(folder, new)
        done.added = len(new)
    return done


def _refused(
    row: Mapping[str, Any],
    found: Mapping[str, Any] | None,
    text: str | None,
    texts: Mapping[str, str],
    readings: Mapping[str, Reading],
) -> str | None:
    """Say why a correction has no place here; ``None`` where it has one."""
    if found is None:
        return "no current answer about that document, page and question"
    if text is None or text != texts.get(row["question_id"]):
        return "the question is asked in other words"
    reading, answer = readings.get(row["question_id"], Reading()), row["reviewed_answer"]
    if not person_says_no_answer(answer) and reading.value_of(answer).error is not None:
        return "it stands for no value of the question's type"
    return None


def _current(
    folder: Folder, said: Sequence[Mapping[str, Any]], places: Mapping[_Answer, Mapping[str, Any]]
) -> dict[_Key, dict[str, Any]]:
    """Return the current answers about the documents of some corrections, by document, pages and question.

    Those of another document with the same content are found by the content, if only one document has it.
    """
    ids = pa.array(sorted({row["document_id"] for row in said}), pa.string())
    contents = pa.array([place.get("document_sha256") for place in places.values()], pa.string()).drop_null()
    found: dict[_Key, dict[str, Any]] = {}
    seen: dict[str, set[str]] = {}
    rows: list[dict[str, Any]] = []
    for name in folder.names("answers", ".parquet"):
        all_rows = read_current(folder, name, _PLACE)
        same = pc.or_(pc.is_in(all_rows["document_id"], ids), pc.is_in(all_rows["document_sha256"], contents))
        rows += [row for row in all_rows.filter(same).to_pylist() if row["page"]]
    for row in rows:
        found[row["document_id"], tuple(row["pages"]), row["question_id"]] = row
        seen.setdefault(row["document_sha256"], set()).add(row["document_id"])
    for row in rows:
        if len(seen[row["document_sha256"]]) == 1:
            found.setdefault((row["document_sha256"], tuple(row["pages"]), row["question_id"]), row)
    return found


def _found(
    here: Mapping[_Key, dict[str, Any]], row: Mapping[str, Any], place: Mapping[str, Any]
) -> dict[str, Any] | None:
    pages = tuple(place.get("pages") or [row["page"]])
    documents = (row["document_id"], place.get("document_sha256"))
    keys = ((document, pages, row["question_id"]) for document in documents if document is not None)
    return next((here[key] for key in keys if key in here), None)


def _latest(other: Folder) -> list[dict[str, Any]]:
    """Return the corrections of any version; of several to the same answer the latest counts."""
    latest: dict[_Answer, dict[str, Any]] = {}
    for name in other.names("reviews", ".parquet"):  # sorted by time, as their names are
        for row in _read(other, name, REVIEWS.names, ()).to_pylist():
            latest[row["unit_id"], row["page"]] = row
    return list(latest.values())


def _places(other: Folder, said: Sequence[Mapping[str, Any]]) -> dict[_Answer, dict[str, Any]]:
    """Return what the corrected answers, of any version, say of their documents and pages."""
    units = pa.array(sorted({row["unit_id"] for row in said}), pa.string())
    found: dict[_Answer, dict[str, Any]] = {}
    for name in other.names("answers", ".parquet"):
        rows = _read(other, name, ("unit_id", "page"), ("document_sha256", "pages"))
        mine = rows.filter(pc.is_in(rows["unit_id"], units)).to_pylist()
        found |= {(row["unit_id"], row["page"]): row for row in mine}
    return found


def _read(other: Folder, name: str, needed: Sequence[str], wanted: Sequence[str]) -> pa.Table:
    try:
        with other.open(name) as file:
            parquet = pq.ParquetFile(file)
            there = set(parquet.schema_arrow.names)
            if missing := [column for column in needed if column not in there]:
                raise UsageError(
                    f"{other.uri}/{name} has no column {missing[0]}; another program wrote it: take it out"
                )
            return parquet.read([*needed, *there.intersection(wanted)])
    except pa.ArrowInvalid as error:
        raise UsageError(f"{other.uri}/{name} is damaged: {error}; take it out") from error


def _texts(other: Folder) -> dict[str, str]:
    """Return the texts of all questions that a folder has answers to, by id."""
    raw = other.read("settings.json")
    try:
        settings: dict[str, Any] = json.loads(raw or b"{}")
        asked = {
            name.removeprefix("question "): kept for name, kept in settings.items() if name.startswith("question ")
        }
        return {name: str(kept["fields"]["text"]) for name, kept in asked.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{other.uri}/settings.json is damaged: {error!r}; put back the file as docpipe wrote it"
        ) from error
