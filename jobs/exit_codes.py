"""How commands end: an expected error becomes a message and an exit code, a bug keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from glimpseprune.errors import GlimpseError
from pipeline.errors import DocpipeError, EngineError, ModelError, UsageError

DONE = 0
TOO_MANY_FAILED = 1
USAGE = 2
ENGINE = 3
INTERRUPTED = 130

EXPECTED = (DocpipeError, GlimpseError, KeyboardInterrupt)
"""Exceptions that end a command with a message; any other is a bug and keeps its traceback."""

Settings = TypeVar("Settings")


def exit_code(error: BaseException) -> int:
    """Return the exit code of an exception of ``EXPECTED``.

    Args:
        error: the exception.

    Raises:
        TypeError: the exception is a bug and has no exit code.
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


def validated(settings: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Make settings from flags.

    Args:
        settings: a pydantic model.
        given: its fields; ``None`` stands for a flag that was not given.

    Raises:
        UsageError: a value is out of range; one line for each.
    """
    from pydantic import ValidationError

    from jobs.settings import problem

    try:
        return settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise UsageError("\n".join(problem(e) for e in error.errors())) from error
