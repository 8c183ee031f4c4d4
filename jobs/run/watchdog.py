"""Ends a process whose model hangs; the in-flight marker tells the next process why."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

EXIT_HUNG = 86
_UNKNOWN_SECONDS = 1800.0  # before any page is done, the normal time is unknown
_WARM_UP_SECONDS = 60.0  # the first page of a process compiles kernels and allocates memory
_BASE_SECONDS = 60.0
_TIMES_MEDIAN = 20.0


class Watched(Protocol):
    """An object that works on pages, one after the other."""

    page_started_at: float | None


def exit_hung() -> None:
    """End this process at once; Ray starts another."""
    os._exit(EXIT_HUNG)


class Watchdog:
    """Ends the process when a page takes too long.

    A hung thread cannot be interrupted, and ``sys.exit`` would wait for it.

    Args:
        watched: object that works on the pages.
        deadline_s: most seconds per page; ``None`` allows 60 s plus 20 times the median of the last pages.
        interval_s: seconds between two checks.
        warm_up_s: seconds that the first page may take on top of ``deadline_s``.
        hung: function that ends the process.
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
        """Return the seconds that a page may take now."""
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
                self.seen.append(now - last)  # exact to one interval
            if started is not None and now - started > self.allowed_s():
                self.hung()
            last = started
            time.sleep(self.interval_s)
