"""Defines ``docpipe watch``, which shows a run from its output folder."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jobs.cli.options import Out

_CLEAR = "\x1b[H\x1b[J"


def watch(
    out: Out,
    every: Annotated[float, typer.Option("--every", help="Seconds between two looks.", min=1, max=3600)] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once.", show_default="off")] = False,
) -> None:
    """Show a run that goes on, from its output folder alone, until it ends; its exit code is that of the run."""
    terminal = sys.stdout.isatty() and not once

    def show(lines: list[str]) -> None:
        typer.echo((_CLEAR if terminal else "") + "\n".join(lines))

    from jobs.commands.watch import watch as look

    code = look(out, None if once else every, show)
    raise typer.Exit(code)
