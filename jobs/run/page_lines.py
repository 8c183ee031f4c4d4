"""Describes committed pages for the log, one object per page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline.records import PageAnswer
from pipeline.results import BundleResult, PageReport

_Page = tuple[str, int | None]  # document id and page; None for a document that cannot be opened


def page_lines(result: BundleResult) -> Iterator[dict[str, Any]]:
    """Describe each page of a committed part; a document that cannot be opened has one line, whose page is null.

    Args:
        result: rows and page reports of the part.
    """
    answers: dict[_Page, list[PageAnswer]] = {}
    for answer in result.answers:
        answers.setdefault((answer.document_id, answer.page), []).append(answer)
    reports: dict[_Page, PageReport] = {(report.document_id, report.page): report for report in result.pages}
    paths = {document.document_id: document.path for document in result.bundle.documents}
    for document_id, page in sorted({*answers, *reports}, key=lambda key: (key[0], key[1] or 0)):
        rows, report = answers.get((document_id, page), []), reports.get((document_id, page))
        yield {
            "document": paths[document_id],
            "document_id": document_id,
            "page": page,
            "bundle": result.bundle.bundle_id,
            "statuses": dict(sorted(Counter(row.status for row in rows).items())),
            "failures": [
                {"question": row.question_id, "type": row.failure.error_type, "message": row.failure.error_message}
                for row in rows
                if row.failure is not None
            ],
            "visual_tokens": None if report is None else report.visual_tokens,
            "retention": None if report is None else report.retention_mean,
            "render_ms": None if report is None else report.render_ms,
        }
