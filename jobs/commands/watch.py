"""Shows a run that goes on, from its output folder alone."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from tqdm import tqdm

from jobs.exit_codes import ENGINE
from jobs.progress import counted
from pipeline.errors import UsageError
from pipeline.file_names import printable
from pipeline.output.folder import Folder
from pipeline.output.live import View, Watcher
from pipeline.output.lock import STALE_SECONDS
from pipeline.output.store import OutputStore

_RATE_SECONDS = 600.0
_READ = ("run_id", "finished_at", "exit_code", "error")  # of the report of the last run


def watch(
    out: str, every_s: float | None, show: Callable[[list[str]], Any], sleep: Callable[[float], None] = time.sleep
) -> int:
    """Show the run of an output folder until it ends.

    Args:
        out: output folder, path or URI.
        every_s: seconds between two looks; ``None`` looks once.
        show: function that receives the lines of each look.
        sleep: function that waits.

    Returns:
        The exit code of the last run if it has ended, 3 if it was killed, 0 if it goes on.

    Raises:
        UsageError: the folder is none, no run has begun in it, or a file in it is damaged.
        EngineError: the folder cannot be read.
    """
    folder = Folder(out)
    watcher, store, seen = Watcher(folder), OutputStore(folder), deque[tuple[datetime, int]]()
    while True:
        view = watcher.look()
        if view.running is not None:
            seen.append((view.at, view.pages))
        while len(seen) > 2 and seen[-1][0] - seen[1][0] > timedelta(seconds=_RATE_SECONDS):
            seen.popleft()
        report = store.read_run(*_READ) if view.holder is None else None
        if view.holder is None and view.running is None and report is None:
            missing = folder.local and not os.path.isdir(folder.root)
            found = "no such folder" if missing else "a folder in which no run has begun"
            raise UsageError(f"{printable(folder.uri)}: expected the --output of a run, found {found}; check the name")
        show([*view_lines(view, seen[0] if len(seen) > 1 else None), *ended_lines(view, report)])
        if view.holder is None:
            return ENGINE if report is None or _was_killed(view, report) else int(report["exit_code"])
        if every_s is None:
            return 0
        sleep(every_s)


def view_lines(view: View, earlier: tuple[datetime, int] | None) -> Iterator[str]:
    """Describe a look at a run.

    Args:
        view: what was seen.
        earlier: time and pages of an earlier look, to tell the speed by; ``None`` takes the mean since the run began.
    """
    running = view.running
    if running is None and view.holder is not None:
        yield "a run is being prepared: listing and counting pages"
    if view.holder is not None:
        where = f"process {view.holder.pid} on {printable(view.holder.host)}"
        yield f"held by    {where}, since {view.holder.since:%Y-%m-%d %H:%M:%S} UTC"
        silence = _since(view, view.holder.heartbeat)
        late = "; it has died, or its machine is away" if silence > STALE_SECONDS else ""
        yield f"heartbeat  {_interval(silence)} ago{late}"
    if running is None:
        return
    yield f"run        {running.run_id}, engine {running.engine}, {counted(running.documents, 'document')}"
    yield f"pages      {view.pages} of {running.pages}{_speed(view, earlier)}"
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(view.statuses.items()))
    yield f"answers    {view.statuses.total()} of {running.rows}{f': {statuses}' if statuses else ''}"
    if view.failures:
        yield f"failures   {', '.join(f'{count} {printable(name)}' for name, count in view.failures.most_common())}"
    if view.in_flight:
        done = sum(one.pages_done for one in view.in_flight)
        yield f"in flight  {counted(len(view.in_flight), 'bundle')}, {counted(done, 'page')} done in them"
    for one in view.in_flight:
        if one.attempt > 1:
            left_out = ", ".join(f"page {'+'.join(map(str, pages))} of {document}" for document, pages in one.crashed)
            yield f"again      bundle {one.bundle_id}, attempt {one.attempt}" + (left_out and f", without {left_out}")
    if view.last_part_at is not None:
        yield f"last part  {_interval(_since(view, view.last_part_at))} ago"


def ended_lines(view: View, report: Mapping[str, Any] | None) -> Iterator[str]:
    """Say how the last run ended, where nobody holds the folder.

    Args:
        view: what was seen.
        report: content of ``run.json``; ``None`` before the first run has ended.
    """
    if view.holder is not None or (view.running is None and report is None):
        return
    if report is None or _was_killed(view, report):
        yield "ended      without a report, so it was killed; the same command goes on"
        return
    reason = "" if report["error"] is None else f": {printable(report['error'])}"
    yield f"ended      {report['finished_at']}, exit code {report['exit_code']}{reason}"


def _was_killed(view: View, report: Mapping[str, Any]) -> bool:
    """Tell whether the last run has left no report, only one before it."""
    return view.running is not None and bool(report["run_id"] < view.running.run_id)


def _speed(view: View, earlier: tuple[datetime, int] | None) -> str:
    if view.running is None or view.holder is None:
        return ""
    began, before = earlier or (view.running.began_at, 0)
    seconds = (view.at - began).total_seconds()
    rate = (view.pages - before) / seconds if seconds > 0 else 0.0
    if rate <= 0:
        return ""
    return f", {rate:.2f} pages/s, {_interval((view.running.pages - view.pages) / rate)} left"


def _since(view: View, then: datetime) -> float:
    return max(0.0, (view.at - then).total_seconds())


def _interval(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else str(tqdm.format_interval(seconds))
