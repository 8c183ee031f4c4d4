"""Output folders with made-up rows, and the documents that they are about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pymupdf

from pipeline.output.asked import Asked, write_asked
from pipeline.output.folder import Folder
from pipeline.output.reviews import add_reviews
from pipeline.output.schema import ANSWERS, FAILURES, PAGES
from pipeline.output.tables import write_table
from pipeline.pages.documents import list_documents
from pipeline.questions.file import QuestionSet
from pipeline.questions.question import AnswerType, Question

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUESTIONS = {"total": "What is the total?", "date": "When was it written?"}
TOTAL_BOX = {"x0": 200.0, "y0": 92.0, "x1": 290.0, "y1": 108.0, "score": 3.0, "page": 1}
"""Where ``write_pdf`` writes the total, in points."""
_SHARED = {
    "document_id": "id-a",
    "source": "/nowhere",
    "document": "a.pdf",
    "document_sha256": None,
    "page": 1,
    "bundle_id": "b",
    "run_id": "run-1",
    "answered_at": NOW,
    "is_current": True,
}
_ANSWER = {
    "other_answers": None,
    **_SHARED,
    "question_id": "total",
    "unit_id": "u",
    "status": "answered",
    "answer": "1903.88",
    "review_reasons": [],
    "confidence": 0.9,
    "finish_reason": "stop",
    "visual_tokens": 400,
    "kept_tokens": 40,
    "retention": 0.1,
    "kv_bytes_full": 4_000_000,
    "kv_bytes_kept": 400_000,
    "prefill_ms": 20.0,
    "decode_ms": 30.0,
    "reviewed": False,  # which the tables do not have, but those who read them get
}
_PAGE = {
    **_SHARED,
    "width_pt": 400.0,
    "height_pt": 300.0,
    "render_ms": 10.0,
    "vision_ms": 20.0,
    "prefix_ms": 30.0,
    "peak_rss_bytes": 900_000_000,
}
_FAILURE = {
    **_SHARED,
    "question_id": "total",
    "unit_id": "u",
    "stage": "open",
    "error_type": "EncryptedDocument",
    "error_message": "it needs a password",
    "attempts": 1,
    "command": "docpipe run --input x",
}


def answer(**given: Any) -> dict[str, Any]:
    """A row of ``answers``; what is not given is that of a usual one."""
    made = {**_ANSWER, **given}
    return {"pages": None if made["page"] is None else [made["page"]], **made}


def page(**given: Any) -> dict[str, Any]:
    return {**_PAGE, **given}


def failure(**given: Any) -> dict[str, Any]:
    return {**_FAILURE, **given}


def review(said: str, **given: Any) -> dict[str, Any]:
    """A row of ``reviews``; what is not given is that of the usual answer."""
    usual = {name: _ANSWER[name] for name in ("unit_id", "document_id", "document", "page", "question_id", "answer")}
    return {**usual, "reviewed_answer": said, "comment": None, "reviewer": "ada", **given}


def write_output(
    uri: Path | str,
    answers: Sequence[dict[str, Any]],
    pages: Sequence[dict[str, Any]] = (),
    failures: Sequence[dict[str, Any]] = (),
    run: dict[str, Any] | None = None,
    questions: dict[str, str] = QUESTIONS,
    reviews: Sequence[dict[str, Any]] = (),
    types: Mapping[str, AnswerType] = MappingProxyType({}),
) -> Folder:
    """Write tables as a run publishes them, with its files about itself, and corrections one after the other."""
    folder = Folder(str(uri))
    for name, rows, schema in (
        ("answers", answers, ANSWERS),
        ("pages", pages, PAGES),
        ("failures", failures, FAILURES),
    ):
        write_table(folder, f"{name}/{'0' * 16}.parquet", pa.Table.from_pylist(list(rows), schema=schema))
    if reviews:
        kinds = ((name, text, types.get(name, "text")) for name, text in questions.items())
        asked = tuple(Question(id=name, text=text, type=kind) for name, text, kind in kinds)
        write_asked(folder, Asked(asked=QuestionSet(version=1, questions=asked)))
    for number, one in enumerate(reviews):
        add_reviews(folder, [one], NOW + timedelta(seconds=number))
    settings = {f"question {name}": {"identity": name, "fields": {"text": text}} for name, text in questions.items()}
    folder.write("settings.json", json.dumps(settings).encode())
    known = {"run_id": "run-1", "settings": {"model": "nano"}, "finished_at": NOW.isoformat(), "interrupted": False}
    folder.write("run.json", json.dumps({**known, **(run or {})}).encode())
    return folder


def write_pdf(path: Path, total: str = "1903.88", pages: int = 1, rotate: int = 0) -> None:
    """Write a PDF whose pages say a total at ``TOTAL_BOX``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pymupdf.open() as pdf:
        for number in range(1, pages + 1):
            sheet = pdf.new_page(width=400, height=300)
            sheet.insert_text((40, 105), f"Total of page {number}", fontsize=12)
            sheet.insert_text((205, 105), total, fontsize=12)
            sheet.set_rotation(rotate)
        pdf.save(str(path))


def of_document(source: Path, name: str) -> dict[str, Any]:
    """The columns of a row that name a document in a folder."""
    (document,) = [document for document in list_documents([str(source)]) if document.path == name]
    sha256 = hashlib.sha256((source / name).read_bytes()).hexdigest()
    known = {"document_id": document.document_id, "source": document.source, "document": document.path}
    return {**known, "document_sha256": sha256}
