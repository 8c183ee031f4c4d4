"""What a run says when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.records import STATUSES


def summary(report: Mapping[str, Any]) -> str:
    """A few lines for a person, from what ``run.json`` holds."""
    counts, totals, now = report["counts"], report["totals"], report["this_run"]
    by_status = ", ".join(f"{counts[status]} {status.replace('_', ' ')}" for status in STATUSES if counts[status])
    lines = [
        f"{report['documents']} documents, {report['pages']} pages, {counts['planned']} answers: {by_status or 'none'}"
    ]
    if totals["retention"] is not None:
        lines.append(
            f"{totals['retention']:.1%} of the visual tokens kept; KV cache "
            f"{totals['kv_bytes_full'] / 1e6:.1f} MB without pruning, {totals['kv_bytes_kept'] / 1e6:.1f} MB with"
        )
    if now["pages_per_s"] is not None:
        lines.append(f"{now['pages']} pages in this run, {now['pages_per_s']:.2f} pages/s")
    elif not report["interrupted"]:
        lines.append("nothing was left to do")
    if report["interrupted"]:
        lines.append("interrupted; the same command resumes")
    lines.append(f"tables: {report['settings']['output']}/{{answers,pages,documents,failures}}")
    return "\n".join(lines)
