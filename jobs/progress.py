"""Shows progress towards a total: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from tqdm import tqdm

from jobs.log import Log

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_LOOKS = 1.0


def counted(count: int, unit: str) -> str:
    """Write a number of things, such as ``1 page`` or ``2 pages``.

    Args:
        count: number of things.
        unit: name of one of them.
    """
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


class Progress:
    """Counts things up to a total, as a context manager.

    Args:
        total: number of things to do.
        unit: name of what is counted, in the singular.
        quiet: true to show nothing.
        log: log that lines go to.
    """

    def __init__(self, total: int, unit: str, quiet: bool, log: Log | None = None) -> None:
        self.total = total
        self.unit = unit
        self.done = 0
        self.last_line = time.monotonic()
        self.told = 0
        self.first: tuple[float, int] | None = None  # time and count when the first were done; loading a model is over
        self.quiet = quiet
        self.log = log or Log()
        terminal = sys.stderr.isatty() and not self.log.is_json
        self.lines = not quiet and not terminal
        self.bar = tqdm(total=total, unit=f" {unit}s", disable=quiet or not terminal, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
        if self.lines and self.done != self.told:
            self._line()

    def add(self, count: int = 1) -> None:
        """Count ``count`` more things as done."""
        self.at(self.done + count)

    def at(self, done: int) -> None:
        """Count ``done`` things as done in all; what was done once stays done."""
        done = min(done, self.total)
        if done <= self.done:
            return
        self.bar.update(done - self.done)
        self.done = done
        now = time.monotonic()
        self.first = self.first or (now, done)
        if self.lines and now - self.last_line >= _SECONDS_BETWEEN_LINES:
            self._line()

    @contextmanager
    def following(self, count: Callable[[], int]) -> Iterator[None]:
        """Look at a count about once per second while the context is entered.

        Args:
            count: function that returns how many things are done, called in a thread.
        """
        if self.quiet:
            yield
            return
        left = threading.Event()

        def follow() -> None:
            pause = _SECONDS_BETWEEN_LOOKS
            while not left.wait(pause):
                began = time.monotonic()
                self.at(count())
                pause = max(_SECONDS_BETWEEN_LOOKS, 10 * (time.monotonic() - began))  # a remote folder answers slowly

        thread = threading.Thread(target=follow, name="docpipe-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            left.set()
            thread.join()
            self.at(count())

    def _line(self) -> None:
        self.last_line, self.told = time.monotonic(), self.done
        line = f"{self.done} of {counted(self.total, self.unit)}"
        if self.first is not None and self.done > self.first[1]:
            rate = (self.done - self.first[1]) / max(self.last_line - self.first[0], 1e-9)
            left = tqdm.format_interval((self.total - self.done) / rate)
            line += f", {rate:.2f} {self.unit}s/s, {left} left"
        self.log.say(line, "progress", done=self.done, total=self.total, unit=self.unit)
