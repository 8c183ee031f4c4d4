"""Defines the commands that show what a run published: show, annotate and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import option

WRITTEN, ORIGINALS = "What is written", "Original documents"
SHOW_EXAMPLE = "show answers/ invoices/2024-17.pdf invoice_total --page 1"

Out = Annotated[str, typer.Argument(help="Output folder of docpipe run.")]
MovedTo = Annotated[
    list[str] | None,
    option(ORIGINALS, "Where the documents are now.", "--input", "-i", default="where the run found them"),
]
Passwords = Annotated[
    str | None,
    option(ORIGINALS, "YAML file: document glob to {env: NAME} or {file: PATH}.", "--password-file", default="none"),
]
Quiet = Annotated[bool, option(WRITTEN, "Print errors only.", "--quiet", default="off")]


def show(
    out: Out,
    document: Annotated[str, typer.Argument(help="Path below the input, name, or document_id.")],
    question: Annotated[str, typer.Argument(help="Id of the question.")],
    page: Annotated[
        int | None, option(WRITTEN, "Page, counted from 1.", min=1, default="the one with the best answer")
    ] = None,
    to: Annotated[Path | None, option(WRITTEN, "PNG file to write.", default="DOCUMENT-QUESTION-PAGE.png")] = None,
    input: MovedTo = None,
    password_file: Passwords = None,
) -> None:
    """Write a picture of one answer: its place on the page, framed, and the answer under it."""
    from jobs.commands.view import Viewed, show_answer

    for line in show_answer(Viewed(out, input or (), password_file), document, question, page, to):
        typer.echo(line)


def annotate(
    out: Out,
    to: Annotated[Path, option(WRITTEN, "New or empty folder for the copies.")],
    input: MovedTo = None,
    password_file: Passwords = None,
    quiet: Quiet = False,
) -> None:
    """Write copies of the documents, with the evidence highlighted and the answers as notes."""
    from jobs.commands.view import Viewed, annotate_run
    from jobs.exit_codes import INCOMPLETE

    lines, missing = annotate_run(Viewed(out, input or (), password_file, quiet), to)
    if not quiet:
        typer.echo("\n".join(lines))
    if missing:
        typer.echo("\n".join(missing), err=True)
        raise typer.Exit(INCOMPLETE)


def report(
    out: Out,
    to: Annotated[Path | None, option(WRITTEN, "HTML file to write.", default="OUT/report.html")] = None,
    compare: Annotated[
        str | None, option(WRITTEN, "Older output folder, to show what changed since.", default="none")
    ] = None,
    price_per_hour: Annotated[
        float | None, option(WRITTEN, "Price of the machines per hour, in any currency.", min=0, default="not known")
    ] = None,
    crops: Annotated[int | None, option(WRITTEN, "Most pictures in the file.", min=0, default="200")] = None,
    input: MovedTo = None,
    password_file: Passwords = None,
    quiet: Quiet = False,
) -> None:
    """Write a report of a run as one HTML file: what to review first, each answer beside its place, and the figures."""
    from jobs.commands.view import Viewed, write_report

    lines = write_report(Viewed(out, input or (), password_file, quiet), to, compare, price_per_hour, crops)
    if not quiet:
        typer.echo("\n".join(lines))
