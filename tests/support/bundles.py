"""Plans and bundle results without documents or a model, for tests of everything that only moves rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from glimpseprune.rule import KeepRule
from pipeline.output.held import Held
from pipeline.questions.file import QuestionSet, parse_questions
from pipeline.records import (
    AnswerSettings,
    Bundle,
    Document,
    Evidence,
    Failure,
    PageAnswer,
    PageCount,
    PixelBudget,
    Status,
    Unit,
)
from pipeline.results import BundleResult, PageReport
from pipeline.units import make_bundles, make_units

SETTINGS = AnswerSettings(
    model="nano",
    model_fingerprint="m1",
    glimpse=None,
    glimpse_fingerprint=None,
    rule=KeepRule(threshold=0.4, max_ratio=0.3, min_tokens=2),
    dpi=200,
    budget=PixelBudget(28, 3136, 1_003_520, "pipeline.families.qwen2_5_vl"),
    dtype="float32",
    seed=0,
)
QUESTIONS = """
version: 1
questions:
  - {id: total, text: "What is the total?"}
  - {id: date, text: "When?", pages: "1", aggregate: first}
"""
LOCKED = Failure("open", "EncryptedDocument", "a password is needed")


def questions(text: str = QUESTIONS) -> QuestionSet:
    return parse_questions(text, "questions.yaml")


def document(number: int, folder: str = "docs") -> Document:
    path = f"{folder}/d{number:04d}.pdf"
    return Document(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}", path, f"/data/{path}", 1000 + number, str(number))


def documents_with(pages: Sequence[int | None]) -> tuple[list[Document], dict[str, PageCount]]:
    """One document for each number of pages; ``None`` for one that cannot be opened."""
    documents = [document(number) for number in range(len(pages))]
    counts = {
        d.document_id: PageCount(d.document_id, n, LOCKED if n is None else None)
        for d, n in zip(documents, pages, strict=True)
    }
    return documents, counts


def with_counts(documents: Sequence[Document], counts: Mapping[str, PageCount]) -> list[tuple[Document, PageCount]]:
    return [(document, counts[document.document_id]) for document in documents]


def units_and_bundles(
    pages: Sequence[int | None], asked: QuestionSet | None = None, done: Held | set[str] | None = None
) -> tuple[list[Unit], list[Bundle]]:
    """All units of documents with so many pages, and the bundles of what is not done."""
    documents, counts = documents_with(pages)
    asked = asked or questions()
    counted = with_counts(documents, counts)
    units = list(make_units(counted, asked, SETTINGS))
    held = done if isinstance(done, Held) else Held(done or set())
    left = [unit for unit in map(held.left_of, units) if unit is not None]
    return units, list(make_bundles(left, counted, asked, SETTINGS))


def result_of(bundle: Bundle, broken: Mapping[tuple[str, int], Failure] | None = None) -> BundleResult:
    """What a bundle could come to: every value follows from document, page and question."""
    broken = broken or {}
    answers, reports = [], []
    for unit in bundle.units:
        for page in unit.pages or (None,):
            failure = bundle.failures.get(unit.document_id) if page is None else broken.get((unit.document_id, page))
            answers.append(_answer(unit, page, failure))
    for d in bundle.documents:
        for page in bundle.pages_of(d.document_id):
            if (d.document_id, page) not in broken:
                reports.append(PageReport(d.document_id, page, 595.0, 842.0, 171.5, 1008, 1428, 1836, render_ms=9.5))
    sha256 = {d.document_id: f"sha-{d.document_id}" for d in bundle.documents if d.document_id not in bundle.failures}
    return BundleResult(bundle, tuple(answers), tuple(reports), sha256)


def _answer(unit: Unit, page: int | None, failure: Failure | None) -> PageAnswer:
    if failure is not None or page is None:
        place = unit.document_id, page, unit.question_id, unit.unit_id
        return PageAnswer(*place, "failed", unit.further, failure=failure)
    status: Status = ("answered", "answered", "not_answerable", "needs_review")[page % 4]
    kept = 100 + page + len(unit.question_id)
    return PageAnswer(
        document_id=unit.document_id,
        page=page,
        question_id=unit.question_id,
        unit_id=unit.unit_id,
        status=status,
        further_pages=unit.further,
        answer=f"{unit.question_id} on page {page}",
        review_reasons=("floor",) if status == "needs_review" else (),
        confidence_raw=1 / (1 + page),
        logprob_mean=-math.log(1 + page),
        logprob_min=-math.log(1 + page),
        logprob_first=-math.log(1 + page),
        margin_min=1.0,
        finish_reason="stop",
        evidence=tuple(Evidence(0.0, 1.5, 20.25, 30.0, 2.5, on) for on in (unit.further or (page,)) if page % 2),
        visual_tokens=1836,
        kept_tokens=kept,
        retention=kept / 1836,
        floor_hit=False,
        cap_hit=page % 3 == 0,
        kv_bytes_full=3_000_000_000,
        kv_bytes_kept=1_000,
        prefill_ms=12.5,
        new_tokens=5,
    )


def rows_of(results: Sequence[BundleResult]) -> list[tuple[str, int | None, str, str]]:
    """(document id, page, question id, status) of all answers, sorted."""
    answers = itertools.chain.from_iterable(result.answers for result in results)
    return sorted(
        ((a.document_id, a.page, a.question_id, a.status) for a in answers),
        key=lambda row: (row[0], row[1] or 0, row[2]),
    )
