"""How commands end: expected errors become a message and an exit code, a bug keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

Model = TypeVar("Model")


@contextmanager
def reported() -> Iterator[None]:
    """Turn expected errors into a message and an exit code; a bug keeps its traceback."""
    from jobs import exit_codes

    try:
        yield
    except exit_codes.REPORTED as error:
        typer.echo("interrupted" if isinstance(error, KeyboardInterrupt) else f"docpipe: {error}", err=True)
        raise typer.Exit(exit_codes.exit_code(error)) from error


def validated(settings: type[Model], given: Mapping[str, Any]) -> Model:
    """Settings from flags.

    Raises:
        UsageError: a value is out of range; one line for each.
    """
    from pydantic import ValidationError

    from jobs.settings import problem
    from pipeline.errors import UsageError

    try:
        return settings(**given)
    except ValidationError as error:
        raise UsageError("\n".join(problem(e) for e in error.errors())) from error
