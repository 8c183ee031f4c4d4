"""Ends a process whose model hangs; the in-flight marker tells the next one why."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

EXIT_HUNG = 86
_UNKNOWN_SECONDS = 1800.0  # before any page is done, nothing tells what is normal
_WARM_UP_SECONDS = 60.0  # on the first page of a process kernels are compiled and memory is claimed
_BASE_SECONDS = 60.0
_TIMES_MEDIAN = 20.0


class Watched(Protocol):
    """Something that works on pages, one after the other."""

    page_started_at: float | None


def exit_hung() -> None:
    """End this process at once; Ray starts another."""
    os._exit(EXIT_HUNG)


class Watchdog:
    """Ends the process when a page takes too long: a hung thread cannot be interrupted, ``sys.exit`` would wait.

    Args:
        watched: what works on the pages.
        deadline_s: seconds a page may take; ``None`` allows 60 s and 20 times the median of the last pages.
        interval_s: seconds between looks.
        warm_up_s: seconds that the first page may take on top of ``deadline_s``.
        hung: ends the process.
    """

    def __init__(
        self,
        watched: Watched,
        deadline_s: float | None,
        interval_s: float = 1.0,
        warm_up_s: float = _WARM_UP_SECONDS,
        hung: Callable[[], None] = exit_hung,
    ) -> None:
        self.watched = watched
        self.deadline_s = deadline_s
        self.interval_s = interval_s
        self.warm_up_s = warm_up_s
        self.hung = hung
        self.seen: deque[float] = deque(maxlen=64)
        threading.Thread(target=self._watch, name="docpipe-watchdog", daemon=True).start()

    def allowed_s(self) -> float:
        """Seconds that a page may take now."""
        if self.deadline_s is not None:
            return self.deadline_s if self.seen else self.deadline_s + self.warm_up_s
        if not self.seen:
            return _UNKNOWN_SECONDS
        return _BASE_SECONDS + _TIMES_MEDIAN * statistics.median(self.seen)

    def _watch(self) -> None:
        last: float | None = None
        while True:
            started = self.watched.page_started_at
            now = time.monotonic()
            if last is not None and started != last:
                self.seen.append(now - last)  # to the length of an interval
            if started is not None and now - started > self.allowed_s():
                self.hung()
            last = started
            time.sleep(self.interval_s)
