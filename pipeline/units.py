"""Makes the units of a run, with ids from all that an answer depends on, and packs them into bundles."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

from glimpseprune.rule import KeepRule
from pipeline.output.schema import SCHEMA_VERSION
from pipeline.questions.file import QuestionSet
from pipeline.questions.page_ranges import PageRanges
from pipeline.records import (
    AnswerSettings,
    Ask,
    Bundle,
    Document,
    Failure,
    PageCount,
    Unit,
)

CHUNK_PAGES = 32
"""Largest number of pages of one document that stay together. It affects every unit's id, so it is not a setting."""
_FEW_PAGES = 256


def make_units(
    counted: Iterable[tuple[Document, PageCount]], questions: QuestionSet, settings: AnswerSettings
) -> Iterator[Unit]:
    """Make a unit per question and chunk of pages, in the order of documents, pages, questions.

    A question about several pages together has one unit; it is asked about those that the document has.
    A document whose pages could not be counted gets one unit without pages per question that would apply to it.

    Args:
        counted: documents to read, with their page counts.
        questions: questions to ask.
        settings: settings that the answers depend on.
    """
    base = _settings_json(settings)
    ends = {q.id: f"\0{q.identity(settings.rule)}\0{base}".encode() for q in questions.questions}
    usual = lru_cache(maxsize=128)(partial(_shapes, questions))  # most documents have as many pages as some before
    for document, count in counted:
        asked = tuple(place for place, q in enumerate(questions.questions) if q.applies_to(document.path))
        few = count.pages is None or count.pages <= _FEW_PAGES
        for question_id, text, pages, further in (usual if few else partial(_shapes, questions))(asked, count.pages):
            content = f"{document.document_id}\0{text}".encode() + ends[question_id]
            unit_id = hashlib.sha256(content).hexdigest()[:24]
            yield Unit(unit_id, document.document_id, question_id, pages, further=further)


_Shape = tuple[str, str, tuple[int, ...], tuple[int, ...]]  # a unit but for its document, with its pages as text too


def _shapes(questions: QuestionSet, asked: Sequence[int], count: int | None) -> list[_Shape]:
    """List what units a document has.

    Args:
        questions: questions of the run.
        asked: places of those that apply to the document.
        count: its number of pages; ``None`` if it cannot be opened.
    """
    mine = [questions.questions[place] for place in asked]
    if count is None:
        return [(question.id, "", (), ()) for question in mine]
    chunks: dict[int, dict[str, list[int]]] = {}
    for question in mine:
        for page, chunk in _chunked(question.page_ranges, count):
            chunks.setdefault(chunk, {}).setdefault(question.id, []).append(page)
    shapes = []
    for _, pages in sorted(chunks.items()):
        for question in mine:
            of = tuple(pages.get(question.id, ()))
            if of and question.page_ranges.together:
                shapes.append((question.id, "+".join(map(str, of)), of[:1], of[1:]))
            elif of:
                shapes.append((question.id, ",".join(map(str, of)), of, ()))
    return shapes


def planned_rows(units: Iterable[Unit]) -> int:
    """Count the rows of ``answers`` that the units come to."""
    return sum(max(1, len(unit.pages)) for unit in units)


def make_bundles(
    units: Iterable[Unit],
    counted: Iterable[tuple[Document, PageCount]],
    questions: QuestionSet,
    settings: AnswerSettings,
) -> Iterator[Bundle]:
    """Pack units into bundles of about ``CHUNK_PAGES`` pages.

    All questions on a chunk of a document stay together; short documents share a bundle. Which chunks share one, and
    so its id, depends on documents, questions and counts, not on finished work. A bundle of which some pages are
    committed therefore keeps the id under which the markers of its attempts are found.

    Args:
        units: pending units, or what is left of them, in the order of :func:`make_units`.
        counted: documents of the run, with their page counts.
        questions: questions of the run.
        settings: settings of the run.
    """
    asks = [question.to_ask(settings.rule, settings.prune_auto) for question in questions.questions]
    left = groupby(units, key=_chunk_of)  # in the order of the packs, so one chunk at a time is enough
    key, waiting = next(left, _NOTHING)
    for pack in _packs(counted, questions):
        mine: list[Unit] = []
        for document, _, chunk in pack:
            if key == (document.document_id, chunk):
                mine += waiting
                key, waiting = next(left, _NOTHING)
        if mine:
            yield _bundle(pack, mine, asks)


_Chunk = tuple[Document, PageCount, int]  # a document, and the number of some of its pages from 0
_NOTHING: tuple[tuple[str, int] | None, Iterable[Unit]] = (None, ())


def _chunk_of(unit: Unit) -> tuple[str, int]:
    return unit.document_id, (unit.pages[0] - 1) // CHUNK_PAGES if unit.pages else 0


def _packs(counted: Iterable[tuple[Document, PageCount]], questions: QuestionSet) -> Iterator[list[_Chunk]]:
    """Pack neighbouring chunks up to ``CHUNK_PAGES`` pages with questions."""
    pack: list[_Chunk] = []
    size = 0
    for document, count in counted:
        for chunk, pages in _asked_pages(document, questions, count.pages).items():
            if pack and size + pages > CHUNK_PAGES:
                yield pack
                pack, size = [], 0
            pack.append((document, count, chunk))
            size += pages
    if pack:
        yield pack


def _asked_pages(document: Document, questions: QuestionSet, count: int | None) -> dict[int, int]:
    """Count the pages with questions in each chunk; a document that cannot be opened counts as one page."""
    asked = [question for question in questions.questions if question.applies_to(document.path)]
    if count is None:
        return {0: 1} if asked else {}
    pages = {chunked for question in asked for chunked in _chunked(question.page_ranges, count)}
    return dict(sorted(Counter(chunk for _, chunk in pages).items()))


@lru_cache(maxsize=64)  # most documents have few pages, and most questions are asked on the same
def _chunked(ranges: PageRanges, count: int) -> list[tuple[int, int]]:
    """Pair pages with the numbers of their chunks; pages that are read together stay together."""
    pages, together = ranges.resolve(count), ranges.together
    return [(page, ((pages[0] if together else page) - 1) // CHUNK_PAGES) for page in pages]


def bundle_to_json(bundle: Bundle) -> str:
    """Write a bundle as plain text, to pass it between processes."""
    return json.dumps(asdict(bundle), separators=(",", ":"))


def bundle_from_json(text: str) -> Bundle:
    """Read back the result of :func:`bundle_to_json`."""
    raw: dict[str, Any] = json.loads(text)
    return Bundle(
        bundle_id=raw["bundle_id"],
        documents=tuple(Document(**{**d, "members": tuple(d["members"])}) for d in raw["documents"]),
        asks=tuple(_ask(ask) for ask in raw["asks"]),
        units=tuple(Unit(**{**u, "pages": tuple(u["pages"]), "further": tuple(u["further"])}) for u in raw["units"]),
        failures={key: Failure(**failure) for key, failure in raw["failures"].items()},
    )


def _ask(raw: Mapping[str, Any]) -> Ask:
    rule = None if raw["rule"] is None else KeepRule(**raw["rule"])
    return Ask(**{**raw, "rule": rule, "choices": tuple(raw["choices"])})


def _settings_json(settings: AnswerSettings) -> str:
    """Write the settings that make two answers comparable: the content of a model counts, its place does not."""
    fields = asdict(settings)
    for name in ("model", "glimpse", "revision"):
        del fields[name]
    del fields["budget"]["family"]  # a module path; the model's fingerprint determines the family
    if settings.repetition_penalty is None:  # the fingerprint determines the checkpoint's
        del fields["repetition_penalty"]
    if settings.ocr is None:  # as before there was one
        del fields["ocr"]
    return json.dumps({**fields, "schema_version": SCHEMA_VERSION}, sort_keys=True)


def _bundle(pack: Sequence[_Chunk], units: list[Unit], asks: Sequence[Ask]) -> Bundle:
    by_id = {document.document_id: (document, count.failure) for document, count, _ in pack}
    ids = list(dict.fromkeys(unit.document_id for unit in units))
    asked = {unit.question_id for unit in units}
    named = "\0".join(f"{document.document_id} {chunk}" for document, _, chunk in pack)
    return Bundle(
        bundle_id=hashlib.sha256(named.encode()).hexdigest()[:24],
        documents=tuple(by_id[document_id][0] for document_id in ids),
        asks=tuple(ask for ask in asks if ask.question_id in asked),
        units=tuple(units),
        failures={key: why for key in ids if (why := by_id[key][1]) is not None},
    )
