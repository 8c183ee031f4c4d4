"""Writes the content of ``run.json``, and the lines that end a run."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import starmap
from pathlib import Path
from typing import Any

from jobs import exit_codes
from jobs.progress import counted
from jobs.run.not_read import not_read_lines
from jobs.run.prepare import Work
from jobs.run.resources import Resources
from jobs.settings import RunSettings
from pipeline.answering.checkpoints import note_on
from pipeline.errors import DocpipeError
from pipeline.file_names import readable, without_password
from pipeline.output.failed import Failed
from pipeline.output.totals import Totals
from pipeline.records import Receipt

_PACKAGES = ("glimpse-docpipe", "torch", "transformers", "ray", "pymupdf", "pyarrow")
_STATUS_WORDS = {
    "answered": "answered",
    "not_answerable": "not answerable",
    "needs_review": "to review",
    "failed": "failed",
    "skipped": "skipped",
    "pending": "not done yet",
}
"""Words of the closing summary, in its order."""


@dataclass(slots=True)
class Outcome:
    """The work of the engine in one run.

    Attributes:
        engine: name of the engine; ``None`` if there was nothing to do.
        engine_why: reason for this engine.
        resources: resources of the engine; ``None`` if there was nothing to do.
        passes: number of times that the engine was given the pending units.
        bundles: number of bundles that were finished.
        moved: number of finished bundles whose pages were rendered on another machine than that of their actor.
        retried: number of finished bundles of which an earlier attempt died.
        pages: number of pages of which no row is missing any more, also in unfinished bundles.
        rows: number of committed rows, also in unfinished bundles.
        busy_s: seconds from rendered pages to commit, summed over the bundles.
        model_s: seconds in which the model ran, summed over the bundles.
        began_at_s: wall clock at the start of the first bundle, in seconds since the epoch; ``None`` without bundles.
        ended_at_s: wall clock at the last commit, in seconds since the epoch; ``None`` without bundles.
        wall_s: seconds from the first bundle given to the engine to its last receipt.
        interrupted: whether a signal ended the run.
        error: error that ended the run; ``None`` if there was none.
    """

    engine: str | None = None
    engine_why: str | None = None
    resources: Resources | None = None
    passes: int = 0
    bundles: int = 0
    moved: int = 0
    retried: int = 0
    pages: int = 0
    rows: int = 0
    busy_s: float = 0.0
    model_s: float = 0.0
    began_at_s: float | None = None
    ended_at_s: float | None = None
    wall_s: float = 0.0
    interrupted: bool = False
    error: DocpipeError | None = field(default=None)

    def add(self, receipt: Receipt) -> None:
        """Add one receipt to the counts; ``pages`` and ``rows`` are counted from what is committed."""
        self.bundles += 1
        self.moved += receipt.moved
        self.retried += receipt.attempt > 1
        self.busy_s += receipt.busy_ms / 1e3
        self.model_s += receipt.model_ms / 1e3
        self.began_at_s = min(receipt.began_at_s, receipt.began_at_s if self.began_at_s is None else self.began_at_s)
        self.ended_at_s = max(receipt.ended_at_s, receipt.ended_at_s if self.ended_at_s is None else self.ended_at_s)


def make_report(
    run: RunSettings,
    work: Work,
    run_id: str,
    statuses: Mapping[str, int],
    totals: Totals,
    failed: Failed,
    outcome: Outcome,
    started: datetime,
    wall_s: float,
) -> dict[str, Any]:
    """Make the content of ``run.json``; ``counts.planned`` is the sum over the statuses.

    Args:
        run: settings of the run.
        work: everything that is planned, including what earlier runs did.
        run_id: id of the run, which the rows that it computed carry.
        statuses: number of committed rows of the plan, by status.
        totals: totals of the same rows.
        failed: documents with failed rows among them.
        outcome: outcome of this run alone.
        started: time at which the run started.
        wall_s: duration of the run, in seconds.
    """
    planned = work.index.rows
    counts = dict(statuses)
    # Rows without a result yet: an interrupted run, or one whose engine failed.
    counts["pending"] = planned - sum(counts.values())
    failed_share = counts["failed"] / planned if planned else 0.0
    return {
        "run_id": run_id,
        "settings": {**run.flat(), **_named(run)},
        "model_note": note_on(run.choice.model),
        "answer_settings": asdict(work.settings),
        "versions": _versions(),
        "documents": len(work.catalog),
        "pages": work.catalog.pages(),
        "units": work.index.units,
        "counts": {"planned": planned, **counts},
        "failed_share": failed_share,
        "failed_documents": failed.count,
        "first_failed_documents": [asdict(document) for document in failed.first],
        "ignored": work.ignored,
        "unmatched_questions": work.unmatched,
        "unasked_documents": work.unasked[0],
        "first_unasked_documents": work.unasked[1],
        "totals": asdict(totals),
        "this_run": _this_run(outcome),
        "interrupted": outcome.interrupted,
        "engine": outcome.engine,
        "engine_why": outcome.engine_why,
        "error": None if outcome.error is None else str(outcome.error),
        "exit_code": _exit_code(outcome, failed_share > run.max_failed_share),
        "started_at": started.isoformat(timespec="seconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_s": wall_s,
    }


def _named(run: RunSettings) -> dict[str, Any]:
    """Return the settings that name a place, as text that JSON and a terminal can hold, without passwords."""

    def shown(name: str) -> str:
        return readable(without_password(name))

    flag, asked = run.asked
    return {
        "calibration": None if run.calibration is None else shown(run.calibration),
        "input": list(map(shown, run.input)),
        flag.removeprefix("--"): shown(asked),
        "output": shown(run.output),
    }


def model_busy_share(model_s: float, began_at_s: float | None, ended_at_s: float | None, actors: int) -> float | None:
    """Compute the share of the answering time in which the models ran, in 0..1.

    Args:
        model_s: seconds in which the models ran, summed over all actors.
        began_at_s: wall clock at the start of the first bundle, in seconds; ``None`` without bundles.
        ended_at_s: wall clock at the last commit, in seconds; ``None`` without bundles.
        actors: number of processes that hold a model.

    Returns:
        The share; ``None`` if no model ran, or if the machines' clocks are too far apart to tell.
    """
    if began_at_s is None or ended_at_s is None or model_s <= 0:
        return None
    available_s = (ended_at_s - began_at_s) * actors
    return min(1.0, model_s / available_s) if available_s > 0 else None


def _this_run(outcome: Outcome) -> dict[str, Any]:
    wall = outcome.wall_s if outcome.rows else 0.0
    began, ended = outcome.began_at_s, outcome.ended_at_s
    resources = outcome.resources
    # Where their number changes, the time that actors were there is not measured.
    actors = resources.actors if resources is not None and resources.actor_range is None else 0
    return {
        "passes": outcome.passes,
        "bundles": outcome.bundles,
        "moved_bundles": outcome.moved,
        "retried_bundles": outcome.retried,
        "pages": outcome.pages,
        "rows": outcome.rows,
        "engine_wall_s": outcome.wall_s if outcome.passes else None,
        "answering_s": None if began is None or ended is None else ended - began,
        "pages_per_s": outcome.pages / wall if wall else None,
        "rows_per_s": outcome.rows / wall if wall else None,
        "busy_share": outcome.busy_s / (wall * actors) if wall and actors else None,
        "model_busy_share": model_busy_share(outcome.model_s, began, ended, actors),
        "resources": asdict(outcome.resources) if outcome.resources is not None else None,
    }


def _exit_code(outcome: Outcome, too_many_failed: bool) -> int:
    if outcome.interrupted:
        return exit_codes.INTERRUPTED
    if outcome.error is not None:
        return exit_codes.exit_code(outcome.error)
    return exit_codes.TOO_MANY_FAILED if too_many_failed else exit_codes.DONE


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def closing_lines(report: Mapping[str, Any]) -> str:
    """Sum up ``run.json`` for a person: the answers and where they are; tokens and speed with ``--verbose``.

    Args:
        report: content of ``run.json``.
    """
    counts, output = report["counts"], report["settings"]["output"].rstrip("/")
    found = ", ".join(f"{counts[status]} {words}" for status, words in _STATUS_WORDS.items() if counts[status])
    sizes = [(report["documents"], "document"), (report["pages"], "page"), (counts["planned"], "answer")]
    lines = [f"{', '.join(starmap(counted, sizes))}: {found or 'none'}"]
    if report["interrupted"]:
        lines.append("interrupted; the same command resumes")
    elif not report["this_run"]["bundles"]:
        lines.append("nothing was left to do")
    if report["settings"]["verbose"]:
        lines += _figures(report)
    lines += not_read_lines(report)
    lines.append(f"answers: {output}/documents/ (per document and question), {output}/answers/ (per page and question)")
    if counts["failed"]:
        lines.append(f"reasons of the failures: {output}/failures/")
    lines.append(f"open them: {_opening_command(f'{output}/documents')}")
    return "\n".join(lines)


def _opening_command(folder: str) -> str:
    """Write the command that shows a table, with a program that is installed here."""
    if shutil.which("duckdb"):
        files = f"{folder}/*.parquet".replace("'", "''")
        sql = f"from '{files}'"
        return f'duckdb -c "{_in_double_quotes(sql)}"'
    found = shutil.which("python")
    same = found is not None and Path(found).parent == Path(sys.executable).parent
    python = "python" if same else shlex.quote(sys.executable)
    script = f"import pandas; print(pandas.read_parquet({folder!r}))"
    return f'{python} -c "{_in_double_quotes(script)}"'


def _in_double_quotes(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)


def _figures(report: Mapping[str, Any]) -> Iterator[str]:
    totals, now = report["totals"], report["this_run"]
    if totals["retention"] is not None:
        yield (
            f"{totals['retention']:.1%} of the visual tokens kept; KV cache "
            f"{totals['kv_bytes_full'] / 1e6:.1f} MB without pruning, {totals['kv_bytes_kept'] / 1e6:.1f} MB with"
        )
    if totals["asked_again"]:
        yield (
            f"{counted(totals['asked_again'], 'question')} asked again without pruning, of which "
            f"{totals['changed_again']} came out otherwise"
        )
    if totals["looked_again"]:
        yield (
            f"{counted(totals['looked_again'], 'question')} asked again at another size, of which "
            f"{totals['later_taken']} came out otherwise"
        )
    if now["pages_per_s"] is not None:
        yield f"{counted(now['pages'], 'page')} in this run, {now['pages_per_s']:.2f} pages/s"
