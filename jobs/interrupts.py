"""Makes Ctrl-C and ``kill`` end a run the same way, and lets it say so at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STANDARD_ERROR = 2


class _Interrupt:
    """Handler of a signal, which says a line the first time.

    Args:
        line: function that makes the line; ``None`` says nothing.
        stream: descriptor to write it to.
    """

    def __init__(self, line: Callable[[], str] | None, stream: int) -> None:
        self._line = line
        self._stream = stream

    def __call__(self, number: int, frame: FrameType | None) -> None:
        line, self._line = self._line, None
        if line is not None:
            begun = "\n" if os.isatty(self._stream) else ""  # behind a progress bar, or ^C
            with suppress(OSError):  # nobody reads any more
                os.write(self._stream, f"{begun}{line()}\n".encode())  # a stream of Python's in use would refuse
        raise KeyboardInterrupt


@contextmanager
def interruptible(line: Callable[[], str] | None = None) -> Iterator[None]:
    """Make SIGINT and SIGTERM raise :class:`KeyboardInterrupt` in the main thread while entered.

    Enter it again after ``ray.init``, which installs its own handlers.

    Args:
        line: function that makes what to say at once on standard error, the first time; ``None`` leaves that to the
            context around this one.
    """
    stream = os.dup(_STANDARD_ERROR)  # Ray starts with nothing there
    around = signal.getsignal(signal.SIGINT)
    handler = around if isinstance(around, _Interrupt) and line is None else _Interrupt(line, stream)
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
        os.close(stream)
