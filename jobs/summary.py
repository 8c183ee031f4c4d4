"""What a run says when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.records import STATUSES


def summary(report: Mapping[str, Any]) -> str:
    """A few lines for a person, from what ``run.json`` holds."""
    counts, now = report["counts"], report["this_run"]
    by_status = ", ".join(f"{counts[status]} {status.replace('_', ' ')}" for status in STATUSES if counts[status])
    lines = [
        f"{report['documents']} documents, {report['pages']} pages, {counts['planned']} answers: {by_status or 'none'}"
    ]
    if now["pages_per_s"] is not None:
        lines.append(f"{now['pages']} pages in this run, {now['pages_per_s']:.2f} pages/s")
    else:
        lines.append("nothing was left to do")
    if report["interrupted"]:
        lines.append("interrupted; the same command resumes")
    lines.append(f"tables: {report['settings']['output']}/answers pages documents failures")
    return "\n".join(lines)
