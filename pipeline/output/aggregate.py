"""Turns the answers on a document's pages into one answer per question."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

_FOUND = ("answered", "needs_review")


def aggregate(rule: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make one row of ``documents`` from the ``answers`` to one question about one document.

    Args:
        rule: way to aggregate: ``best`` (most confident), ``first`` (lowest page), ``all`` (every different answer),
            ``vote`` (most frequent, the more confident on a tie) or ``sum`` (of the typed values).
        rows: one or more rows with ``status``, ``answer``, ``value``, ``confidence`` and ``page``.

    Returns:
        ``status``, ``answer``, ``value``, ``confidence``, ``page``, ``pages_asked`` and ``chosen_by``. Without an
        answer on any page, the status is ``not_answerable`` if at least one page was read, else that of the first row.
    """
    found = sorted((row for row in rows if row["status"] in _FOUND), key=lambda row: row["page"])
    common = {"pages_asked": len(rows)}
    if not found:
        read = any(row["status"] == "not_answerable" for row in rows)
        status = "not_answerable" if read else rows[0]["status"]
        empty = dict.fromkeys(("answer", "value", "confidence", "page"))
        return {**common, **empty, "status": status, "chosen_by": f"{rule}: no answer on any page"}
    # An answer that needs review ranks below every answer that does not.
    best = max(found, key=lambda row: (row["status"] == "answered", row["confidence"] or 0.0, -row["page"]))
    if rule == "first":
        return {**common, **_chosen(found[0]), "chosen_by": f"first of {len(found)} answers"}
    if rule == "vote":
        return {**common, **_vote(found)}
    if rule == "all":
        different = list(dict.fromkeys(row["answer"] for row in found))
        merged = {**_chosen(best), "answer": json.dumps(different, ensure_ascii=False), "page": None, "value": None}
        return {**common, **merged, "chosen_by": f"all {len(different)} different answers"}
    if rule == "sum":
        return {**common, **_sum(found, best, sum(row["status"] == "failed" for row in rows))}
    return {**common, **_chosen(best), "chosen_by": f"most confident of {len(found)} answers"}


def _chosen(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("status", "answer", "value", "confidence", "page")}


def _vote(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def key(row: Mapping[str, Any]) -> str:
        return str(row["value"] if row["value"] is not None else row["answer"].strip().casefold())

    votes = Counter(key(row) for row in found)
    winner = max(found, key=lambda row: (votes[key(row)], row["confidence"] or 0.0, -row["page"]))
    return {**_chosen(winner), "chosen_by": f"{votes[key(winner)]} of {len(found)} votes"}


def _sum(found: Sequence[Mapping[str, Any]], best: Mapping[str, Any], failed: int) -> dict[str, Any]:
    """Add the values up exactly; the sum needs review unless every page that could add to it was read."""
    values = [json.loads(row["value"], parse_float=Decimal, parse_int=Decimal) for row in found if row["value"]]
    numbers = [value for value in values if isinstance(value, Decimal)]
    if len(numbers) != len(found):
        missing = {**_chosen(best), "answer": None, "value": None, "page": None, "status": "needs_review"}
        return {**missing, "chosen_by": f"sum: {len(found) - len(numbers)} of {len(found)} answers have no number"}
    total = format(sum(numbers), "f")
    summed = {**_chosen(best), "answer": total, "value": total, "page": None}
    if failed:
        return {
            **summed,
            "status": "needs_review",
            "chosen_by": f"sum of {len(numbers)} answers, {failed} pages failed",
        }
    if any(row["status"] == "needs_review" for row in found):
        summed["status"] = "needs_review"
    return {**summed, "chosen_by": f"sum of {len(numbers)} answers"}
