"""Explains which questions are asked nowhere, and which documents no question is asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from pipeline.file_names import printable
from pipeline.questions.question import Question
from pipeline.records import Document, PageCount

EXAMPLES = 3
"""Number of documents that are named."""


def unmatched_questions(
    questions: Sequence[Question], counted: Callable[[], Iterable[tuple[Document, PageCount]]]
) -> dict[str, str]:
    """Explain by question id why a question is asked nowhere; questions that are asked are left out.

    Args:
        questions: questions that may be asked nowhere.
        counted: function that returns the documents of the run, with their page counts.
    """
    reasons = {question.id: _reason(question, counted) for question in questions}
    return {question_id: reason for question_id, reason in reasons.items() if reason is not None}


def unasked_words(number: int, first: Sequence[str]) -> list[str]:
    """Say in a line that documents have no row; there is no line without any.

    Args:
        number: number of documents that no question is asked about.
        first: paths of the first ones.
    """
    if not number:
        return []
    documents = "1 document: " if number == 1 else f"{number} documents: "
    named = _named(first, number - len(first))
    return [f"no question is asked about {documents}{named}; the documents and pages of the questions leave them out"]


def _reason(question: Question, counted: Callable[[], Iterable[tuple[Document, PageCount]]]) -> str | None:
    asked = longest = 0
    for document, count in counted():
        if question.applies_to(document.path):
            if count.pages is None or question.page_ranges.resolve(count.pages):
                return None
            asked, longest = asked + 1, max(longest, count.pages)
    if not asked:
        return (
            f"question {question.id!r} is asked of no document: its documents: {_globs(question)} is matched "
            f"against the path below --input, {_examples(counted())}"
        )
    return (
        f"question {question.id!r} is asked on no page: its pages: {question.pages!r} lie outside of "
        f"{'the document' if asked == 1 else f'all {asked} documents'} that it applies to, "
        f"{'which' if asked == 1 else 'the longest of which'} has {longest} page{'s' if longest > 1 else ''}"
    )


def _examples(counted: Iterable[tuple[Document, PageCount]]) -> str:
    paths = (document.path for document, _ in counted)
    first = list(islice(paths, EXAMPLES))
    return f"here {_named(first, sum(1 for _ in paths))}"


def _named(first: Sequence[str], left: int) -> str:
    shown = ", ".join(f"'{printable(path)}'" for path in first)
    return f"{shown} and {left} more" if left > 0 else shown


def _globs(question: Question) -> str:
    return repr(question.documents) if isinstance(question.documents, str) else str(list(question.documents or ()))
