"""Defines what a benchmark is: how its files are read, scored by its own metric, and written as it takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.example import Example
from pipeline.datasets.page_images import document_at
from pipeline.errors import PageError, UsageError
from pipeline.evaluation.evaluate import Measured
from pipeline.pages.renderer import RenderChild
from pipeline.questions.no_answer import says_no_answer
from pipeline.questions.values import AnswerType


@dataclass(frozen=True, slots=True)
class BenchmarkQuestion:
    """A question of a benchmark.

    Attributes:
        id: id as the benchmark's files have it; the name of the document, where questions have none.
        text: words of the question.
        documents: image of each page, or one PDF.
        answers: right answers as the files have them; ``None`` in a split without.
        type: what the answer stands for.
        answer_page: number of the page that holds the answer, from 0; ``None`` where that is not told.
        entity: name of the entity that is asked for; empty where the benchmark has questions.
    """

    id: str | int
    text: str
    documents: tuple[Path, ...]
    answers: tuple[str, ...] | None
    type: AnswerType = "text"
    answer_page: int | None = None
    entity: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model replies to a question.

    Attributes:
        question: the question.
        answer: the model's answer; of several pages the one that it is most sure of.
        page: number of the page that it was read on, from 0.
        is_none: whether the model says that no page holds the answer.
    """

    question: BenchmarkQuestion
    answer: str
    page: int
    is_none: bool


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark, in a module of its own.

    Attributes:
        read: function that reads a folder, or the file of one split in it.
        score: function that computes the benchmark's metrics, each in 0..1, of replies to questions with answers.
        suffix: suffix of the file that it takes.
        submit: function that writes that file.
    """

    read: Callable[[Path], list[BenchmarkQuestion]]
    score: Callable[[Sequence[Reply]], Mapping[str, float]]
    suffix: str
    submit: Callable[[Sequence[Reply], Path], None]


def page_counts(questions: Sequence[BenchmarkQuestion]) -> dict[Path, int]:
    """Count the pages of all PDFs that questions are about; images have one.

    Args:
        questions: questions of a benchmark.

    Raises:
        UsageError: a PDF cannot be read.
    """
    pdfs = dict.fromkeys(path for question in questions for path in question.documents if path.suffix == ".pdf")
    if not pdfs:
        return {}
    with RenderChild() as child:
        try:
            return {path: child.count_pages(document_at(path)) for path in pdfs}
        except PageError as error:
            raise UsageError(f"a document of the benchmark cannot be read: {error}") from error


def examples_of(questions: Sequence[BenchmarkQuestion], counts: Mapping[Path, int]) -> list[Example]:
    """Make one example of every question and page, those of a page together.

    Args:
        questions: questions of a benchmark.
        counts: number of pages of each PDF.
    """
    on_pages: dict[tuple[Path, int], list[Example]] = {}
    for number, question in enumerate(questions):
        for path, page in _pages(question, counts):
            example = Example(path, page, str(number), question.text, question.answers or (), (), type=question.type)
            on_pages.setdefault((path, page), []).append(example)
    return [example for examples in on_pages.values() for example in examples]


def replies_of(
    questions: Sequence[BenchmarkQuestion], rows: Sequence[Measured], counts: Mapping[Path, int]
) -> list[Reply]:
    """Choose the reply to each question whose pages were all asked, by the model's own confidence.

    Args:
        questions: questions of a benchmark.
        rows: answers in one mode to the examples of these questions.
        counts: number of pages of each PDF.
    """
    answered = {(row.question_id, row.document, row.page): row for row in rows}
    replies = []
    for number, question in enumerate(questions):
        pages = [answered.get((str(number), path.name, page)) for path, page in _pages(question, counts)]
        given = [(page, row) for page, row in enumerate(pages) if row is not None]
        if len(given) < len(pages):
            continue
        page, row = max(given, key=lambda one: _sureness(one[1]))
        replies.append(Reply(question, row.answer, page, says_no_answer(row.answer)))
    return replies


def _sureness(row: Measured) -> tuple[bool, float]:
    """Rank answers; OCR has no confidence, so the first page with a value counts."""
    return not says_no_answer(row.answer), -math.inf if row.confidence_raw is None else row.confidence_raw


def _pages(question: BenchmarkQuestion, counts: Mapping[Path, int]) -> list[tuple[Path, int]]:
    return [(path, page) for path in question.documents for page in range(1, counts.get(path, 1) + 1)]
