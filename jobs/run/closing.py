"""Says what became of pages while a run goes on, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jobs.log import Log, LogFormat
from jobs.progress import counted
from jobs.run.report import closing_lines
from pipeline.file_names import printable
from pipeline.records import Receipt


def say_pages(receipt: Receipt, log: Log) -> None:
    """Write one line per page that a bundle committed.

    Args:
        receipt: receipt of the bundle, with lines if its engine was asked for them.
        log: log of the run.
    """
    for line in receipt.lines:
        page = "" if line["page"] is None else f"page {line['page']} of "
        statuses = ", ".join(f"{count} {status}" for status, count in line["statuses"].items())
        message = f"{page}{printable(line['document'])}: {statuses or 'read'}"
        log.say(message, "page", "warning" if line["failures"] else "info", **line)


def say_how_it_ended(report: Mapping[str, Any], log_format: LogFormat, echo: Callable[[str], Any]) -> None:
    """Sum up a run: for people on standard output, for machines as one line of the log.

    Args:
        report: content of ``run.json``.
        log_format: format of the log.
        echo: function that prints a text.
    """
    if log_format == "text":
        echo(closing_lines(report))
        return
    log, counts = Log(log_format, report["run_id"]), report["counts"]
    told = {name: report[name] for name in ("documents", "pages", "counts", "this_run", "exit_code", "wall_s")}
    log.say(f"{counted(counts['planned'], 'answer')}, of which {counts['failed']} failed", "ended", **told)
