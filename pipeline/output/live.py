"""Looks at a run from its output folder alone, while it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import UsageError
from pipeline.output.attempts import InFlight, Markers
from pipeline.output.completed import COMPACTED, replaced_by
from pipeline.output.folder import Folder
from pipeline.output.json_files import Count, Moment
from pipeline.output.lock import Holder, read_holder
from pipeline.output.parts import part_name, read_rows

_NAME = "running.json"
_EARLIER = timedelta(minutes=10)  # a store's clock may be behind that of the run
_READERS = 16


class Running(BaseModel):
    """What a run is going to do, written when it begins.

    Attributes:
        run_id: id of the run.
        began_at: when its engine was started, in UTC.
        engine: ``ray`` or ``local``.
        documents: number of its documents.
        pages: number of pages that it has to do.
        rows: number of answers that it has to compute.
        planned_rows: number of all planned answers, done before or not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    began_at: Moment
    engine: str
    documents: Count
    pages: Count
    rows: Count
    planned_rows: Count


@dataclass(slots=True)
class View:
    """What can be seen of a run.

    Attributes:
        at: time of the look, in UTC.
        holder: who holds the lock of the folder; ``None`` if nobody does.
        running: what the last run has to do; ``None`` if none has begun.
        pages: number of pages that it committed.
        statuses: number of answers that it committed, by status.
        failures: number of its failures by type.
        in_flight: the bundles that are being worked on.
        last_part_at: when the last part was written, in UTC; ``None`` before the first.
    """

    at: datetime
    holder: Holder | None
    running: Running | None
    pages: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    in_flight: list[InFlight] = field(default_factory=list)
    last_part_at: datetime | None = None


def write_running(folder: Folder, running: Running) -> None:
    """Write what a run is going to do.

    Args:
        folder: the output folder.
        running: what it is.

    Raises:
        OutputError, EngineError: the file system refuses.
    """
    folder.write(_NAME, (running.model_dump_json(indent=2) + "\n").encode())


class Watcher:
    """Looks at a folder again and again; each part is read once.

    Args:
        folder: the output folder.
        now: function that returns the time, in UTC.
    """

    def __init__(self, folder: Folder, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._folder = folder
        self._now = now
        self._run_id = ""
        self._gone: set[str] = set()
        self._parts: dict[str, tuple[int, Counter[str], Counter[str]]] = {}

    def look(self) -> View:
        """Look at the folder, and read what is new in it.

        Raises:
            UsageError: a file is damaged.
            EngineError: a file cannot be read.
        """
        running = self._running()
        view = View(self._now(), read_holder(self._folder), running)
        if running is None:
            return view
        if running.run_id != self._run_id:
            self._run_id, self._parts = running.run_id, {}
        written = self._written_since(running.began_at - _EARLIER)
        new = [name for name in written if name not in self._parts]
        with ThreadPoolExecutor(_READERS) as pool:
            self._parts.update(zip(new, pool.map(self._count, new), strict=True))
        for pages, statuses, failures in (self._parts[name] for name in written):
            view.pages += pages
            view.statuses += statuses
            view.failures += failures
        view.last_part_at = max((written[name] for name in written if self._parts[name][1].total()), default=None)
        view.in_flight = Markers(self._folder).in_flight()
        return view

    def _written_since(self, since: datetime) -> dict[str, datetime]:
        """List the parts that were written since, but for those that a compacted one stands for."""
        written = self._folder.written_since("parts", ".parquet", since)
        for name in written:
            if name.startswith(f"parts/{COMPACTED}") and name not in self._parts:
                part = name.removeprefix("parts/").removesuffix(".parquet")
                self._gone.update(map(part_name, replaced_by(self._folder, part)))
        return {name: at for name, at in written.items() if name not in self._gone}

    def _running(self) -> Running | None:
        data = self._folder.read(_NAME)
        if data is None:
            return None
        try:
            return Running.model_validate_json(data)
        except ValidationError as error:
            raise UsageError(
                f"{self._folder.uri}/{_NAME} is damaged: {error.errors()[0]['msg']}; the next run writes it again"
            ) from error

    def _count(self, name: str) -> tuple[int, Counter[str], Counter[str]]:
        part = name.removeprefix("parts/").removesuffix(".parquet")
        (found,) = read_rows(self._folder, [part], ("answers", "failures"))
        answers, failures = found["answers"], found["failures"]
        mine = answers.filter(pc.equal(answers["run_id"], self._run_id))
        pages = mine.filter(pc.is_valid(mine["page"])).group_by(["document_id", "page"]).aggregate([])
        types = failures.filter(pc.equal(failures["run_id"], self._run_id))["error_type"].to_pylist()
        return len(pages), Counter(mine["status"].to_pylist()), Counter(types)
