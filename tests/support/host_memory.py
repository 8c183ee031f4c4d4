"""Measures the memory that a process holds for itself: not what it maps of files, which processes share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Peak:
    """The largest growth so far, in bytes."""

    nbytes: int = 0


@contextmanager
def peak_of_own_memory() -> Iterator[Peak]:
    """Look at this process every millisecond; the largest growth stands in the result at the end."""
    peak, start, over = Peak(), _anonymous(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            peak.nbytes = max(peak.nbytes, _anonymous() - start)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        peak.nbytes = max(peak.nbytes, _anonymous() - start)


def _anonymous() -> int:
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024
