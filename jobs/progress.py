"""Progress in pages: a bar on a terminal, JSON lines elsewhere, nothing when quiet."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts pages up to a total; a context manager.

    Args:
        total: pages to do.
        quiet: say nothing.
    """

    def __init__(self, total: int, quiet: bool) -> None:
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.last_line = self.started
        self.told = 0
        terminal = sys.stderr.isatty()
        self.lines = not quiet and not terminal
        self.bar = tqdm(total=total, unit="page", disable=quiet or not terminal, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
        if self.lines and self.done != self.told:
            self._line()

    def add(self, pages: int) -> None:
        """So many pages more are done."""
        self.done += pages
        self.bar.update(pages)
        if self.lines and time.monotonic() - self.last_line >= _SECONDS_BETWEEN_LINES:
            self._line()

    def _line(self) -> None:
        self.last_line, self.told = time.monotonic(), self.done
        seconds = self.last_line - self.started
        rate = self.done / seconds if seconds else None
        line = {
            "pages": self.done,
            "of": self.total,
            "pages_per_s": rate,
            "left_s": (self.total - self.done) / rate if rate else None,
        }
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()
