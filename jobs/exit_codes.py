"""What the shell is told; the one place where an exception becomes a number."""

from __future__ import annotations

from glimpseprune.errors import GlimpseError
from pipeline.errors import DocpipeError, EngineError, ModelError, UsageError

DONE = 0
TOO_MANY_FAILED = 1
USAGE = 2
ENGINE = 3
INTERRUPTED = 130

REPORTED = (DocpipeError, GlimpseError, KeyboardInterrupt)
"""Exceptions that end a command with a message; any other is a bug and keeps its traceback."""


def exit_code(error: BaseException) -> int:
    """The exit code for an exception of ``REPORTED``."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, UsageError):
        return USAGE
    if isinstance(error, EngineError | ModelError | GlimpseError):
        return ENGINE
    raise TypeError(f"no exit code for {type(error).__name__}") from error
