"""Output folders with chosen answers, for tests of what reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.output.asked import Asked, write_asked
from pipeline.output.current import Plan
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.questions.file import QuestionSet, parse_questions
from pipeline.records import Failure, PageAnswer, Status
from tests.support.bundles import result_of, units_and_bundles
from tests.support.published import everything

INVOICES = """
version: 1
defaults: {locale: en_US}
questions:
  - {id: total, text: "What is the total?", type: money}
  - {id: date, text: "When?", type: date}
"""


def asked_of(text: str = INVOICES) -> QuestionSet:
    return parse_questions(text, "q.yaml")


def output_folder(
    path: Path,
    answers: Mapping[str, Sequence[Sequence[str | None]]],
    asked: QuestionSet | None = None,
    plan: Plan | None = None,
) -> Folder:
    """A published folder: for each question a list of documents, each a list of the answers on its pages.

    ``None`` is a page where the model says nothing; an answer that ends with "?" needs review, and
    "failed" and "skipped" are pages without an answer.
    """
    asked = asked or asked_of()
    documents = max(answers.values(), key=len)
    store = OutputStore(Folder(str(path)))
    _, bundles = units_and_bundles([len(pages) for pages in documents], asked)
    ids = sorted({d.path: d.document_id for bundle in bundles for d in bundle.documents}.items())
    number = {document_id: place for place, (_, document_id) in enumerate(ids)}
    for bundle in bundles:
        result = result_of(bundle)
        rows = tuple(_as_told(row, answers, number) for row in result.answers)
        store.commit(dataclasses.replace(result, answers=rows))
    publish_again(store.folder, asked, plan)
    return store.folder


def publish_again(folder: Folder, asked: QuestionSet, plan: Plan | None = None) -> None:
    """Publish a folder as another run would."""
    store, told = OutputStore(folder), Asked(asked=asked)
    write_asked(folder, told)
    publish(store, told.readings, plan or everything(store))


def _as_told(
    row: PageAnswer, answers: Mapping[str, Sequence[Sequence[str | None]]], number: Mapping[str, int]
) -> PageAnswer:
    assert row.page is not None
    text = answers[row.question_id][number[row.document_id]][row.page - 1]
    status: Status = "not_answerable" if text is None else "needs_review" if text.endswith("?") else "answered"
    if text in ("failed", "skipped"):
        failure = Failure("render", "CorruptPage", "broken") if text == "failed" else None
        return dataclasses.replace(row, answer=None, status=text, failure=failure, review_reasons=())
    said = "n/a" if text is None else text.removesuffix("?")
    reasons = ("floor",) if status == "needs_review" else ()
    return dataclasses.replace(row, answer=said, status=status, review_reasons=reasons)
