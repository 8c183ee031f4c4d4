"""What a run has to do: units of work with ids that say everything an answer depends on, packed into bundles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from glimpseprune.rule import KeepRule
from pipeline.questions import Question, QuestionSet
from pipeline.records import (
    AnswerSettings,
    Ask,
    Bundle,
    Document,
    Failure,
    PageCount,
    Unit,
)
from pipeline.schema import SCHEMA_VERSION

CHUNK_PAGES = 32
"""Pages of one document that stay together. Part of every unit's id, so a fixed number and no setting."""


def make_units(
    documents: Sequence[Document],
    counts: Mapping[str, PageCount],
    questions: QuestionSet,
    settings: AnswerSettings,
) -> list[Unit]:
    """Every question on every chunk of pages it applies to, in the order of documents, pages, questions.

    A document whose pages could not be counted gets one unit without pages for each question that would apply to it.

    Args:
        documents: what to read.
        counts: the page count of every document, by id.
        questions: what to ask.
        settings: what the answers depend on.
    """
    base = _settings_json(settings)
    units = []
    for document in documents:
        asked = [question for question in questions.questions if question.applies_to(document.path)]
        count = counts[document.document_id]
        if count.pages is None:
            units += [_unit(document, question, (), base) for question in asked]
            continue
        pages = {question.id: question.page_ranges.resolve(count.pages) for question in asked}
        for first in range(1, count.pages + 1, CHUNK_PAGES):
            for question in asked:
                chunk = tuple(page for page in pages[question.id] if first <= page < first + CHUNK_PAGES)
                if chunk:
                    units.append(_unit(document, question, chunk, base))
    return units


def planned_rows(units: Iterable[Unit]) -> int:
    """How many rows of ``answers`` the units come to."""
    return sum(max(1, len(unit.pages)) for unit in units)


def make_bundles(
    units: Sequence[Unit],
    documents: Sequence[Document],
    questions: QuestionSet,
    settings: AnswerSettings,
    counts: Mapping[str, PageCount],
) -> list[Bundle]:
    """Pack units into bundles of about ``CHUNK_PAGES`` pages.

    All questions on a chunk of a document stay together; short documents share a bundle.
    """
    by_id = {document.document_id: document for document in documents}
    asks = [question.to_ask(settings.rule) for question in questions.questions]
    groups: dict[tuple[str, int], list[Unit]] = {}
    for unit in units:
        chunk = (unit.pages[0] - 1) // CHUNK_PAGES if unit.pages else -1
        groups.setdefault((unit.document_id, chunk), []).append(unit)
    bundles: list[Bundle] = []
    waiting: list[Unit] = []
    pages = 0
    for group in groups.values():
        size = max(1, len({page for unit in group for page in unit.pages}))
        if waiting and pages + size > CHUNK_PAGES:
            bundles.append(_bundle(waiting, by_id, asks, counts))
            waiting, pages = [], 0
        waiting += group
        pages += size
    if waiting:
        bundles.append(_bundle(waiting, by_id, asks, counts))
    return bundles


def bundle_to_json(bundle: Bundle) -> str:
    """A bundle as plain text, to cross a process border."""
    return json.dumps(asdict(bundle), separators=(",", ":"))


def bundle_from_json(text: str) -> Bundle:
    """What :func:`bundle_to_json` made."""
    raw: dict[str, Any] = json.loads(text)
    return Bundle(
        bundle_id=raw["bundle_id"],
        documents=tuple(Document(**d) for d in raw["documents"]),
        asks=tuple(Ask(**{**a, "rule": None if a["rule"] is None else KeepRule(**a["rule"])}) for a in raw["asks"]),
        units=tuple(Unit(**{**u, "pages": tuple(u["pages"])}) for u in raw["units"]),
        failures={key: Failure(**failure) for key, failure in raw["failures"].items()},
    )


def _settings_json(settings: AnswerSettings) -> str:
    """What makes two answers comparable; where the model lies does not matter, what is in it does."""
    fields = asdict(settings)
    for name in ("model", "glimpse"):
        del fields[name]
    return json.dumps({**fields, "schema_version": SCHEMA_VERSION}, sort_keys=True)


def _unit(document: Document, question: Question, pages: tuple[int, ...], base: str) -> Unit:
    text = "\0".join([document.document_id, ",".join(map(str, pages)), question.identity(), base])
    return Unit(hashlib.sha256(text.encode()).hexdigest()[:24], document.document_id, question.id, pages)


def _bundle(
    units: list[Unit], by_id: Mapping[str, Document], asks: Sequence[Ask], counts: Mapping[str, PageCount]
) -> Bundle:
    digest = hashlib.sha256("\0".join(unit.unit_id for unit in units).encode()).hexdigest()[:24]
    ids = list(dict.fromkeys(unit.document_id for unit in units))
    asked = {unit.question_id for unit in units}
    failures: dict[str, Failure] = {}
    for document_id in ids:
        failure = counts[document_id].failure
        if failure is not None:
            failures[document_id] = failure
    return Bundle(
        bundle_id=digest,
        documents=tuple(by_id[document_id] for document_id in ids),
        asks=tuple(ask for ask in asks if ask.question_id in asked),
        units=tuple(units),
        failures=failures,
    )
