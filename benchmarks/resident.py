"""Not a benchmark: notes the memory, descriptors, threads and children of this process, and draws them."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

_MEMORY = {"rss_mb": "VmRSS", "anon_mb": "RssAnon", "file_mb": "RssFile", "shmem_mb": "RssShmem"}
_OTHERS = ("arrow_mb", "descriptors", "threads", "children")


class Resident:
    """Appends a line of JSON to a file every few seconds, from a thread.

    Args:
        path: the file, which may be there already: a run that goes on adds to it.
        done: function that counts the documents that are done.
        seconds: seconds between two lines.
    """

    def __init__(self, path: Path, done: Callable[[], int], seconds: float) -> None:
        self.step = ""
        self._path = path
        self._done = done
        self._seconds = seconds
        self._peak = 0.0
        self._process = psutil.Process()
        threading.Thread(target=self._note_all, daemon=True).start()

    def begin(self, step: str) -> None:
        self.step = step
        self._peak = 0.0

    def peak_mb(self) -> float:
        """The most resident memory that was seen since the step began, in MB."""
        return self._peak

    def _note_all(self) -> None:
        while True:
            line = {"at": round(time.time(), 1), "step": self.step, "documents": self._done(), **self._figures()}
            self._peak = max(self._peak, line["rss_mb"])
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            time.sleep(self._seconds)

    def _figures(self) -> dict[str, Any]:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        found = {name: round(int(status[key].split()[0]) * 1024 / 1e6, 1) for name, key in _MEMORY.items()}
        pool = pa.default_memory_pool()
        return {
            **found,
            "arrow_mb": round(pool.bytes_allocated() / 1e6, 1),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": int(status["Threads"]),
            "children": len(self._process.children(recursive=True)),
        }


def draw(lines: Path, to: Path) -> None:
    """Draw what was noted: memory over documents in the step ``run``, and everything over time; time between attempts
    of a run that was ended and went on is left out.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    noted = _thinned(_joined([json.loads(line) for line in lines.read_text().splitlines()]))
    run = [line for line in noted if line["step"] == "run"]
    figure, (over_documents, over_time, counts) = pyplot.subplots(3, 1, figsize=(9, 10), layout="constrained")
    for name, label in (("rss_mb", "resident"), ("anon_mb", "of which anonymous"), ("arrow_mb", "in Arrow's pool")):
        over_documents.plot([line["documents"] for line in run], [line[name] for line in run], lw=0.8, label=label)
        over_time.plot(_minutes(noted), [line[name] for line in noted], lw=0.8, label=label)
    for name in ("descriptors", "threads", "children"):
        counts.plot(_minutes(noted), [line[name] for line in noted], lw=0.8, label=name)
    for minute, step in _steps(noted):
        over_time.axvline(minute, color="grey", lw=0.5)
        over_time.annotate(step, (minute, 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=7)
    for axes, across, up in (
        (over_documents, "documents committed", "MB"),
        (over_time, "minutes", "MB"),
        (counts, "minutes", "number"),
    ):
        axes.set(xlabel=across, ylabel=up, ylim=(0, None))
        axes.legend(fontsize=7)
    figure.savefig(to)


def _joined(noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count documents and time on from one attempt to the next, which begins without a step."""
    documents, gap = 0, 0.0
    for last, line in itertools.pairwise(noted):
        if line["step"] == "" != last["step"]:
            documents, gap = last["documents"], line["at"] - last["at"]
        line["documents"] += documents
        line["at"] -= gap
    return noted


def _thinned(noted: list[dict[str, Any]], most: int = 1_500) -> list[dict[str, Any]]:
    """The highest of so many neighbours that few enough are left, by kind of number."""
    size = -(-len(noted) // most)
    return [
        {**group[-1], **{name: max(line[name] for line in group) for name in (*_MEMORY, *_OTHERS)}}
        for group in (noted[start : start + size] for start in range(0, len(noted), size))
    ]


def _minutes(noted: list[dict[str, Any]]) -> list[float]:
    return [(line["at"] - noted[0]["at"]) / 60 for line in noted]


def _steps(noted: list[dict[str, Any]]) -> Iterator[tuple[float, str]]:
    last = None
    for minute, line in zip(_minutes(noted), noted, strict=True):
        if line["step"] != last:
            last = line["step"]
            yield minute, last
