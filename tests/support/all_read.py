"""What ``run.json`` says of files, questions and documents without an answer, where there are none."""

from __future__ import annotations

from typing import Any

ALL_READ: dict[str, Any] = {
    "ignored": {},
    "unmatched_questions": {},
    "unasked_documents": 0,
    "first_unasked_documents": [],
    "failed_documents": 0,
    "first_failed_documents": [],
}
