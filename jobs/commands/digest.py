"""Writes what a night came to, as lines for a log or a mail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.progress import counted
from jobs.run.not_read import not_read_lines
from pipeline.file_names import printable
from pipeline.output.nights import Night

_NAMED = 10


def digest_lines(night: Night, before: Sequence[Night], report: Mapping[str, Any]) -> Iterator[str]:
    """Say what changed, what was computed, what failed, what needs review, and what is unlike the nights before.

    Args:
        night: the night.
        before: earlier nights, oldest first.
        report: content of ``run.json``.
    """
    hours = night.wall_s / 3600
    took = f"{hours:.1f} h" if hours >= 1 else f"{night.wall_s / 60:.1f} min"
    yield f"night of {night.started_at:%Y-%m-%d %H:%M} UTC, {took}, run {night.run_id}"
    yield f"documents  {night.documents}{_changes(night)}"
    if (limit := report["settings"]["limit"]) is not None:
        yield f"LIMIT      at most {counted(limit, 'document')} by limit in the job file; any others were not read"
    yield f"questions  {len(night.questions)}{_questions(night)}"
    yield f"computed   {_computed(night)}"
    if night.failures:
        yield f"failed     {_by_count(night.failures)}"
    if night.review_reasons:
        yield f"to review  {_by_count(night.review_reasons)}"
    yield f"compared   {_compared(night, before)}"
    yield from (f"DRIFT      {line}" for line in night.drift)
    if night.error is not None:
        yield f"ENDED EARLY {printable(night.error)}"
    if night.pending:
        yield f"NOT DONE   {counted(night.pending, 'answer')}; the same command goes on"
    yield from not_read_lines(report)
    if night.statuses.get("needs_review"):
        output = printable(report["settings"]["output"])
        yield f"review them: docpipe export {output} --review --to review.xlsx"


def _changes(night: Night) -> str:
    if night.new_documents is None:
        return ", in the first night"
    return f": {night.new_documents} new, {night.changed_documents} changed, {night.deleted_documents} deleted"


def _questions(night: Night) -> str:
    kinds = {"new": night.new_questions, "reworded": night.reworded_questions, "gone": night.gone_questions}
    told = [f"{kind} {_some(ids)}" for kind, ids in kinds.items() if ids]
    return f": {'; '.join(told)}" if told else ""


def _computed(night: Night) -> str:
    if not night.rows:
        return "nothing; nothing was new"
    statuses = ", ".join(f"{count} {status}" for status, count in night.statuses.items() if count)
    speed = "" if night.pages_per_s is None else f", {night.pages_per_s:.2f} pages/s"
    return f"{counted(night.rows, 'answer')}: {statuses}{speed}"


def _compared(night: Night, before: Sequence[Night]) -> str:
    names = {"failed": "failed_share", "to review": "review_share", "retention": "retention"}
    names |= {"confidence": "confidence" if night.confidence is not None else "confidence_raw"}
    told = []
    for words, field in names.items():
        now, then = getattr(night, field), [getattr(one, field) for one in before if one.rows]
        known = [f"{value:.3f}" for value in then[-3:] if value is not None]
        if now is not None:
            told.append(f"{words} {now:.3f}" + (f" (before: {', '.join(known)})" if known else ""))
    return "; ".join(told) or "nothing to compare"


def _by_count(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {printable(name)}" for name, count in ordered)


def _some(ids: Sequence[str]) -> str:
    rest = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + rest
