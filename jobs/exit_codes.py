"""Turns the end of a command into an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from glimpseprune.errors import GlimpseError
from pipeline.errors import DocpipeError, EngineError, ModelError, UsageError

DONE = 0
TOO_MANY_FAILED = 1
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


@contextmanager
def as_exit_code() -> Iterator[None]:
    """Turn expected errors into a message and an exit code.

    Raises:
        Exit: carries the exit code of the error.
    """
    import typer

    try:
        yield
    except EXPECTED as error:
        typer.echo("interrupted" if isinstance(error, KeyboardInterrupt) else f"docpipe: {error}", err=True)
        raise typer.Exit(exit_code(error)) from error
