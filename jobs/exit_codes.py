"""Turns the end of a command into an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from glimpseprune.errors import GlimpseError
from jobs.log import Log
from pipeline.errors import DocpipeError, EngineError, ModelError, UsageError

DONE = 0
TOO_MANY_FAILED = INCOMPLETE = 1
USAGE = 2
ENGINE = 3
INTERRUPTED = 130

EXPECTED = (DocpipeError, GlimpseError, KeyboardInterrupt)
"""Exceptions that end a command with a message; any other exception is a bug and keeps its traceback."""


def exit_code(error: BaseException) -> int:
    """Return the exit code of an exception of ``EXPECTED``.

    Args:
        error: exception of ``EXPECTED``.

    Raises:
        TypeError: the exception is not expected, so it is a bug and has no exit code.
    """
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, UsageError):
        return USAGE
    if isinstance(error, EngineError | ModelError | GlimpseError):
        return ENGINE
    raise TypeError(f"no exit code for {type(error).__name__}") from error


@dataclass(slots=True)
class Ending:
    """How a command says why it ends.

    Attributes:
        log: log that receives the message.
    """

    log: Log = Log()


@contextmanager
def as_exit_code() -> Iterator[Ending]:
    """Turn expected errors into a message and an exit code.

    Yields:
        Where the message goes, which the command may change once it knows its settings.

    Raises:
        Exit: carries the exit code of the error.
    """
    import typer

    ending = Ending()
    try:
        yield ending
    except EXPECTED as error:
        told = "interrupted" if isinstance(error, KeyboardInterrupt) else f"docpipe: {error}"
        ending.log.say(told, "failed", "error", exit_code=exit_code(error))
        raise typer.Exit(exit_code(error)) from error
