from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.questions.unmatched import unmatched_questions
from pipeline.records import Document, PageCount
from tests.support.bundles import documents_with, questions, with_counts


def asked(**fields: str) -> str:
    return "version: 1\nquestions: [{id: a, text: A, " + ", ".join(f"{k}: '{v}'" for k, v in fields.items()) + "}]"


def unmatched(text: str, documents: Sequence[Document], counts: Mapping[str, PageCount]) -> dict[str, str]:
    return unmatched_questions(questions(text).questions, lambda: with_counts(documents, counts))


def test_a_glob_without_a_match_says_what_it_was_matched_against() -> None:
    documents, counts = documents_with([1, 2, 3, 4, 5])
    assert unmatched(asked(documents="in/docs/*.pdf"), documents, counts) == {
        "a": "question 'a' is asked of no document: its documents: 'in/docs/*.pdf' is matched against the path below "
        "--input, here 'docs/d0000.pdf', 'docs/d0001.pdf', 'docs/d0002.pdf' and 2 more"
    }
    assert unmatched(asked(documents="docs/*.pdf"), documents, counts) == {}
    several = "version: 1\nquestions: [{id: a, text: A, documents: [x, in/*]}]"
    reason = unmatched(several, documents, counts)["a"]
    assert "its documents: ['x', 'in/*'] is matched against" in reason


def test_pages_without_a_match_say_how_many_there_are() -> None:
    documents, counts = documents_with([1, 3])
    assert unmatched(asked(pages="7-9"), documents, counts) == {
        "a": "question 'a' is asked on no page: its pages: '7-9' lie outside of all 2 documents that it applies to, "
        "the longest of which has 3 pages"
    }
    assert unmatched(asked(pages="2", documents="**/d0000.pdf"), documents, counts) == {
        "a": "question 'a' is asked on no page: its pages: '2' lie outside of the document that it applies to, "
        "which has 1 page"
    }
    assert unmatched(asked(pages="2,9"), documents, counts) == {}


def test_a_document_that_cannot_be_opened_is_asked() -> None:
    documents, counts = documents_with([1, None])
    assert unmatched(asked(pages="7"), documents, counts) == {}
