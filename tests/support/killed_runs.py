"""Runs on Ray, in processes of their own, that are killed at random moments and started again until they are done."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow.parquet as pq

from jobs.run.job import run_job
from jobs.run.ray_workers import ActorConfig, load_answerer
from jobs.settings import RunSettings
from pipeline.questions.file import load_questions

if TYPE_CHECKING:  # it takes torch, which no driver has
    from pipeline.answering.bundle_answerer import BundleAnswerer

KINDS = ("driver", "worker", "raylet", "renderer", "all")
_NAMES = {"worker": "AnswerActor", "raylet": "raylet/raylet", "renderer": "pipeline.pages.render_child"}
_RUNS_ON = ("worker", "renderer")  # without these, the run goes on by itself
_LINGERS_S = 10.0  # in which what belonged to a driver may end after it
_MOST_FAILURES = 3  # in a row; where a machine is busy, Ray may not start in time
_ENDS_S = 150.0  # in which a driver has to notice that its Ray is gone
_TIMES = ("_ms", "answered_at", "run_id", "peak_rss_bytes", "peak_memory_bytes", "attempts")


def load_counting(config: ActorConfig) -> BundleAnswerer:
    """The model itself; each page that it has done is a line of ``pages.log`` beside the output folder."""
    answerer = load_answerer(config)
    log, inner = Path(config.output).parent / "pages.log", answerer.page_answerer.answer_pages

    def counted(pages: Any) -> Iterator[Any]:
        for found in inner(pages):
            with log.open("a") as file:
                file.write(f"{time.time():.3f} {os.getpid()}\n")
            yield found

    answerer.page_answerer.answer_pages = counted  # type: ignore[method-assign, assignment]
    return answerer


def main(documents: str, questions: str, output: str) -> int:
    """Do a run, as ``docpipe run --engine ray`` does, and count the pages that are computed.

    In bfloat16, what a page is decoded beside changes log-probabilities by more than their last digits.
    """
    flags: dict[str, Any] = {"engine": "ray", "device": "cpu", "dtype": "float32", "quiet": True}
    run = RunSettings(input=(documents,), questions=questions, output=output, **flags)
    return int(run_job(run, load_questions(questions), load=load_counting)["exit_code"])


@dataclass(slots=True)
class Kill:
    """What was killed, when, and what followed.

    Attributes:
        kind: one of ``KINDS``.
        after_s: seconds since the process was started, or since the kill before in the same process.
        folder: name of the output folder.
        committed: rows in parts when it was killed.
        ended_s: seconds until the driver had ended; ``None`` where it went on.
        survivors: names of processes that outlived the driver by ten seconds, and were killed then.
    """

    kind: str
    after_s: float
    folder: str
    committed: int
    ended_s: float | None = None
    survivors: list[str] = field(default_factory=list)


class Started:
    """A run in a session of its own.

    Args:
        documents: folder with PDFs.
        questions: questions file.
        output: output folder.
    """

    def __init__(self, documents: Path, questions: Path, output: Path) -> None:
        call = f"import sys; from {__name__} import main; sys.exit(main(*sys.argv[1:]))"
        self.log = output.with_suffix(".log").open("ab")
        command = [sys.executable, "-c", call, str(documents), str(questions), str(output)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)
        self.began = time.monotonic()

    def members(self) -> list[psutil.Process]:
        """All living processes of the session but the driver."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.pid != self.process.pid and os.getsid(process.pid) == self.process.pid
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def named(self, kind: str) -> list[psutil.Process]:
        """The processes of the session of one kind."""
        return [process for process in self.members() if _NAMES[kind] in _command(process)]

    def kill(self, kind: str) -> bool:
        """Send SIGKILL; tell whether there was such a process."""
        others = self.members() if kind == "all" else [] if kind == "driver" else self.named(kind)[:1]
        if kind in ("driver", "all"):
            self.process.kill()
        for process in others:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return kind in ("driver", "all") or bool(others)

    def kill_after(self, seconds: float, kind: str) -> bool:
        """Kill after a while, as soon as there is such a process; tell whether the run had not ended before."""
        ended = self.ended_within(seconds)
        while not ended and not self.kill(kind):
            ended = self.ended_within(0.05)
        return not ended

    def ended_within(self, seconds: float) -> bool:
        """Wait for the driver, and tell whether it has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def clean(self) -> list[str]:
        """Kill what is left of the session, and tell what it was."""
        left = [_command(process).split(" ")[0].rsplit("/", 1)[-1] for process in self.members()]
        self.kill("all")
        self.process.wait()
        self.log.close()
        return sorted(left)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def run_once(documents: Path, questions: Path, output: Path) -> float:
    """Do a run without a kill; the seconds that it took.

    Raises:
        RuntimeError: it failed.
    """
    started = Started(documents, questions, output)
    code = started.process.wait()
    started.clean()
    if code:
        raise RuntimeError(f"expected exit code 0, found {code}; see {output.with_suffix('.log')}")
    return time.monotonic() - started.began


def kill_until_done(
    documents: Path, questions: Path, output: Path, kinds: Iterator[str], rng: random.Random, longest_s: float
) -> Iterator[Kill]:
    """Start a run again and again in one folder, killing something each time, until it is done.

    Args:
        documents: folder with PDFs.
        questions: questions file.
        output: output folder.
        kinds: what to kill next; when there is no more, the run is left to end.
        rng: source of the moments.
        longest_s: most seconds between two kills.

    Yields:
        Each kill, after what followed from it.

    Raises:
        RuntimeError: runs that nobody killed failed again and again.
    """
    kind, code, failures = next(kinds, None), -1, 0
    while code:
        started, disturbed = Started(documents, questions, output), False
        since = started.began
        while kind is not None and started.kill_after(rng.uniform(0.0, longest_s), kind):
            kill = Kill(kind, round(time.monotonic() - since, 2), output.name, rows_in_parts(output))
            kind, disturbed, since = next(kinds, None), True, time.monotonic()
            if kill.kind not in _RUNS_ON:
                if started.ended_within(_ENDS_S):
                    kill.ended_s = round(time.monotonic() - since, 2)
                    time.sleep(_LINGERS_S)
                kill.survivors = started.clean()
                yield kill
                break
            yield kill
        else:
            started.process.wait()
        code = started.process.returncode
        started.clean()
        failures = failures + 1 if code > 0 and not disturbed else 0
        if failures == _MOST_FAILURES:
            raise RuntimeError(f"{failures} runs failed that nobody killed; see {output.with_suffix('.log')}")


def rows_in_parts(output: Path) -> int:
    """Number of answers that are committed."""
    parts = (output / "parts").glob("*.parquet")
    return sum(len(pq.read_table(part, columns=["answers"])["answers"][0]) for part in parts)


def computed(output: Path) -> int:
    """Number of pages that models have done beside an output folder, those done twice counted twice."""
    log = output.parent / "pages.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def tables(output: Path) -> dict[str, dict[tuple[Any, ...], list[dict[str, Any]]]]:
    """The rows of each table by document, page and question, without times and names of runs."""
    found: dict[str, dict[tuple[Any, ...], list[dict[str, Any]]]] = {}
    for name in ("answers", "pages", "documents", "failures"):
        rows = found.setdefault(name, {})
        for row in pq.read_table(output / name).to_pylist() if any((output / name).glob("*.parquet")) else []:
            key = tuple(row.get(column) for column in ("document", "page", "question_id"))
            kept = {column: value for column, value in row.items() if not column.endswith(_TIMES)}
            rows.setdefault(key, []).append(kept)
    return found


def compared(output: Path, reference: Path) -> dict[str, int]:
    """Count the rows that are missing, that are there twice or too many, and that differ, by how much.

    Args:
        output: output folder of the killed runs.
        reference: output folder of the uninterrupted run.
    """
    counts = Counter(rows=0, missing=0, duplicate=0, surplus=0, different=0, different_in_last_digits=0)
    found, expected = tables(output), tables(reference)
    for name, rows in expected.items():
        mine = found[name]
        counts["surplus"] += len(mine.keys() - rows.keys())
        counts["duplicate"] += sum(len(same) - 1 for same in mine.values())
        for key, (row,) in rows.items():
            counts["rows"] += 1
            if key not in mine:
                counts["missing"] += 1
            elif mine[key][0] != row:
                counts["different_in_last_digits" if alike(mine[key][0], row) else "different"] += 1
    return dict(counts)


def alike(one: Any, other: Any) -> bool:
    """Equal, floats to one in ten thousand: which pages decode together changes their last digits."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-4 * max(1.0, abs(one), abs(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
