"""Finds what changed between the answers of two runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.viewing.published import rows_of

_COLUMNS = ("document_id", "document", "page", "question_id", "status", "answer")
Key = tuple[str, int | None, str]


@dataclass(frozen=True, slots=True)
class Changes:
    """Differences of a run from an older one.

    Attributes:
        kinds: for each row of the new run: ``new``, ``answer`` (another answer), ``status`` (the same answer with
            another status), or empty.
        before: status and answer in the older run, by row number, where they changed.
        gone: rows of the older run that the new one does not have.
    """

    kinds: list[str]
    before: dict[int, dict[str, Any]]
    gone: list[dict[str, Any]]


def compare(answers: pa.Table, older: pa.Table) -> Changes:
    """Compare the answers of two runs, page by page.

    A document is the same if it has the same ``document_id``, or else the same path, where only one document of each
    run has that path.

    Args:
        answers: rows of ``answers`` of the new run.
        older: those of the older run.
    """
    now, then = rows_of(answers, _COLUMNS), rows_of(older, _COLUMNS)
    names = _same_documents(now, then)
    old = {(names.get(row["document_id"], row["document_id"]), row["page"], row["question_id"]): row for row in then}
    kinds: list[str] = []
    before: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(now):
        was = old.pop((row["document_id"], row["page"], row["question_id"]), None)
        kind = "new" if was is None else _kind(was, row)
        kinds.append(kind)
        if was is not None and kind:
            before[number] = {"status": was["status"], "answer": was["answer"]}
    return Changes(kinds, before, list(old.values()))


def _kind(was: dict[str, Any], row: dict[str, Any]) -> str:
    if (was["answer"] or "") != (row["answer"] or ""):
        return "answer"
    return "status" if was["status"] != row["status"] else ""


def _same_documents(now: list[dict[str, Any]], then: list[dict[str, Any]]) -> dict[str, str]:
    """Map the id of an old document to that of the new one with the same path, where they differ."""
    new_ids, old_ids = _ids_by_path(now), _ids_by_path(then)
    found = {}
    for path, olds in old_ids.items():
        news = new_ids.get(path, set())
        if len(olds) == len(news) == 1:
            found[next(iter(olds))] = next(iter(news))
    return found


def _ids_by_path(rows: list[dict[str, Any]]) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[row["document"]].add(row["document_id"])
    return found
