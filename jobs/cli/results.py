"""Defines the commands that work on the output folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import Out, option

FILE, ROWS = "File", "Rows"


def export(
    out: Out,
    to: Annotated[Path, option(FILE, "File to write.", default=False)],
    format_: Annotated[
        str | None,
        option(FILE, "csv, xlsx, jsonl, records or docvqa.", "--format", default="by the ending of --to"),
    ] = None,
    level: Annotated[
        str | None,
        option(ROWS, "documents (one answer per question) or pages (one per page and question).", default="documents"),
    ] = None,
    review: Annotated[
        bool, option(ROWS, "Only what a person has to look at, with columns to fill in.", "--review", default="off")
    ] = False,
) -> None:
    """Write the current answers to one file, with what was corrected by docpipe review."""
    from pipeline.errors import UsageError
    from pipeline.output.export.write import lost_corrections, write_export, write_review_sheet
    from pipeline.output.folder import Folder
    from pipeline.pages.apart import check_no_document

    if review and level is not None:
        raise UsageError("--review writes answers of pages; leave --level out")
    folder = Folder(out)
    check_no_document(str(to))
    told = write_review_sheet(folder, to, format_) if review else write_export(folder, to, format_, level)
    typer.echo("\n".join(told))
    if (lost := lost_corrections(folder)) is not None:
        typer.echo(lost, err=True)


def compact(out: Out) -> None:
    """Merge the small files of parts/, one for each published file; rows and tables stay as they are."""
    from pipeline.output.compact import compact as merge
    from pipeline.output.export.rows import answer_files
    from pipeline.output.folder import Folder

    folder = Folder(out)
    answer_files(folder)  # a folder of something else gets no lock
    done = merge(folder)
    typer.echo(f"files of parts: {done.before} before, {done.after} now")


def review(
    out: Out,
    sheet: Annotated[
        Path,
        option(FILE, "Filled-in sheet of docpipe export --review, or another --output.", "--import", default=False),
    ],
) -> None:
    """Take back a review sheet, or corrections of another run: they go before the answers of the model from now on."""
    import getpass
    import os

    from jobs.progress import counted
    from pipeline.output.carried_over import take_over
    from pipeline.output.corrections import take_corrections
    from pipeline.output.folder import Folder

    if sheet.is_dir():
        done = take_over(Folder(out), Folder(str(sheet)))
        typer.echo(
            f"{counted(done.added, 'correction')} added, {done.known} known already, {done.left.total()} not taken"
        )
        for reason, number in done.left.most_common():
            typer.echo(f"{counted(number, 'correction')} not taken: {reason}", err=True)
        return
    try:
        reviewer = getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        reviewer = f"user {os.getuid()}"
    taken = take_corrections(Folder(out), sheet, reviewer)
    added, empty = counted(taken.added, "correction"), counted(taken.empty, "row")
    typer.echo(f"{added} added, {taken.known} known already, {empty} not filled in")
    if taken.commented:
        typer.echo(f"{counted(taken.commented, 'comment')} without a reviewed_answer not kept", err=True)
