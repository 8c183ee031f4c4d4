"""Shows progress towards a total: a bar on a terminal, JSON lines elsewhere, nothing when quiet."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts things up to a total, as a context manager.

    Args:
        total: number of things to do.
        unit: name of what is counted, in the singular.
        quiet: true to show nothing.
    """

    def __init__(self, total: int, unit: str, quiet: bool) -> None:
        self.total = total
        self.unit = unit
        self.done = 0
        self.started = time.monotonic()
        self.last_line = self.started
        self.told = 0
        terminal = sys.stderr.isatty()
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
        self.done += count
        self.bar.update(count)
        if self.lines and time.monotonic() - self.last_line >= _SECONDS_BETWEEN_LINES:
            self._line()

    def _line(self) -> None:
        self.last_line, self.told = time.monotonic(), self.done
        rate = self.done / max(self.last_line - self.started, 1e-9)
        line = {
            f"{self.unit}s": self.done,
            "of": self.total,
            f"{self.unit}s_per_s": round(rate, 3),
            "left_s": round((self.total - self.done) / rate, 1),
        }
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()
