"""Writes the lines that say what was not read, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs import exit_codes
from jobs.progress import counted
from pipeline.file_names import printable
from pipeline.output.failed import FailedDocument
from pipeline.pages.documents import ignored_words
from pipeline.questions.unmatched import unasked_words

NAMED = 10
"""Largest number of failed documents that are named."""

_LONGEST_REASON = 200  # characters; the tables hold all of it


def not_read_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Sum up what ``run.json`` says of files, questions and documents without an answer.

    Args:
        report: content of ``run.json``.
    """
    if report["ignored"]:
        yield ignored_words(report["ignored"])
    unasked = unasked_words(report["unasked_documents"], report["first_unasked_documents"])
    for reason in (*report["unmatched_questions"].values(), *unasked):
        yield f"warning: {reason}"
    count, failed = report["failed_documents"], report["first_failed_documents"]
    if count:
        yield f"{counted(count, 'document')} with failed answers:"
        yield from named([FailedDocument(**each) for each in failed], count)
    if report["exit_code"] == exit_codes.TOO_MANY_FAILED:
        allowed = report["settings"]["max_failed_share"]
        yield (
            f"exit code 1: {report['failed_share']:.1%} of the answers failed, "
            f"more than --max-failed-share {allowed:g} ({allowed:.1%}) allows"
        )


def named(failed: Sequence[FailedDocument], count: int) -> Iterator[str]:
    """Write a line for each of the first failed documents, and how many more there are.

    Args:
        failed: failed documents, of which up to ``NAMED`` are written.
        count: number of all failed documents.
    """
    for each in failed[:NAMED]:
        rows = f"{counted(each.rows, 'answer')}, " if each.rows else ""
        reason = printable(each.error_message)
        short = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."
        yield f"  {printable(each.document)}: {rows}{each.error_type}: {short}"
    if count > NAMED:
        yield f"  and {count - NAMED} more"
