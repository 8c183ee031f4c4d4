"""Small work for the tests: documents, settings and answers without a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats
from pipeline.errors import PageError
from pipeline.questions import QuestionSet, parse_questions
from pipeline.reader import ModelAnswer
from pipeline.records import (
    AnswerSettings,
    Ask,
    Bundle,
    BundleResult,
    Document,
    Failure,
    Image,
    PageAnswer,
    PageCount,
    PageReport,
    PixelBudget,
)

SETTINGS = AnswerSettings(
    model="m",
    model_fingerprint="1234",
    glimpse="g",
    glimpse_fingerprint="5678",
    rule=KeepRule(),
    dpi=72,
    budget=PixelBudget(28, 3136, 256 * 784),
    dtype="auto",
    seed=0,
)


def questions(*texts: str, extra: str = "") -> QuestionSet:
    body = "\n".join(f"  - {{{text}}}" for text in texts or ("id: a, text: What a", "id: b, text: What b"))
    return parse_questions(f"version: 1\n{extra}questions:\n{body}\n", "q.yaml")


def documents(*pages: int | None) -> tuple[list[Document], dict[str, PageCount]]:
    """Documents ``d0.pdf`` ... with that many pages; ``None`` for one that cannot be opened."""
    found = [Document(f"id{i}", f"d{i}.pdf", f"/in/d{i}.pdf", 10, "1") for i in range(len(pages))]
    counts = {}
    for document, count in zip(found, pages, strict=True):
        failure = Failure("open", "CorruptDocument", "damaged") if count is None else None
        counts[document.document_id] = PageCount(document.document_id, count, failure)
    return found, counts


def result(bundle: Bundle, status: str = "answered") -> BundleResult:
    """An answer for every row of a bundle; documents that cannot be opened fail."""
    answers, pages = [], []
    for unit in bundle.units:
        failure = bundle.failures.get(unit.document_id)
        for page in unit.pages or (None,):
            if failure is not None:
                answers.append(
                    PageAnswer(unit.document_id, page, unit.question_id, unit.unit_id, "failed", failure=failure)
                )
                continue
            text = f"{unit.document_id} {unit.question_id} {page}"
            answers.append(
                PageAnswer(
                    unit.document_id,
                    page,
                    unit.question_id,
                    unit.unit_id,
                    status,
                    text,
                    confidence=1 / ((page or 0) + 1),
                )
            )
    for document in bundle.documents:
        for page in bundle.pages_of(document.document_id):
            pages.append(PageReport(document.document_id, page, 595, 842, 72, 364, 532, 247))
    return BundleResult(bundle, tuple(answers), tuple(pages), {d.document_id: "00ff" for d in bundle.documents})


class FakeReader:
    """Answers with the page's mean grey and the prompt; raises what it is told to for some pages."""

    def __init__(self, raises: Sequence[BaseException | None] = ()) -> None:
        self.raises = list(raises)
        self.pages = 0

    def answer_page(self, page: Image, asks: Sequence[Ask]) -> list[ModelAnswer]:
        self.pages += 1
        error = self.raises.pop(0) if self.raises else None
        if error is not None:
            raise error
        grid = (page.shape[0] // 28, page.shape[1] // 28)
        total = grid[0] * grid[1]
        keep = np.zeros(total, dtype=bool)
        keep[: total // 10] = True
        stats = PruneStats(total, int(keep.sum()), False, False, total + 9, 50, 1000, 50, 1.5, 2.5, 3.5)
        return [
            ModelAnswer(f"{page.mean():.2f} {ask.prompt}", "stop", 0.5, 4, stats, keep, keep.astype(np.float32), grid)
            for ask in asks
        ]


def page_error() -> PageError:
    return PageError("infer", "OutOfMemory", "too large")
