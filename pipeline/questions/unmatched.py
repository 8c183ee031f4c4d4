"""Finds questions that are asked nowhere, because no document or page matches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.file_names import printable
from pipeline.questions.file import QuestionSet
from pipeline.questions.question import Question
from pipeline.records import Document, PageCount

_EXAMPLES = 3


def unmatched_questions(
    questions: QuestionSet, documents: Sequence[Document], counts: Mapping[str, PageCount]
) -> dict[str, str]:
    """Explain by question id why a question is asked nowhere; questions that are asked are left out.

    Args:
        questions: questions of the run.
        documents: documents of the run.
        counts: the page count of every document, by id.
    """
    reasons = {question.id: _reason(question, documents, counts) for question in questions.questions}
    return {question_id: reason for question_id, reason in reasons.items() if reason is not None}


def _reason(question: Question, documents: Sequence[Document], counts: Mapping[str, PageCount]) -> str | None:
    asked = [document for document in documents if question.applies_to(document.path)]
    if not asked:
        return (
            f"question {question.id!r} is asked of no document: its documents: {_globs(question)} is matched "
            f"against the path below --input, {_examples(documents)}"
        )
    pages = [counts[document.document_id].pages for document in asked]
    if any(count is None or question.page_ranges.resolve(count) for count in pages):
        return None
    longest = max(count for count in pages if count is not None)
    return (
        f"question {question.id!r} is asked on no page: its pages: {question.pages!r} lie outside of "
        f"{'the document' if len(asked) == 1 else f'all {len(asked)} documents'} that it applies to, "
        f"{'which' if len(asked) == 1 else 'the longest of which'} has {longest} page{'s' if longest > 1 else ''}"
    )


def _examples(documents: Sequence[Document]) -> str:
    shown = ", ".join(f"'{printable(document.path)}'" for document in documents[:_EXAMPLES])
    left = len(documents) - _EXAMPLES
    return f"here {shown}" + (f" and {left} more" if left > 0 else "")


def _globs(question: Question) -> str:
    return repr(question.documents) if isinstance(question.documents, str) else str(list(question.documents or ()))
