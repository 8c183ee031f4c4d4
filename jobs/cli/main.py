"""Defines the ``docpipe`` command, which turns options into settings for one function.

Heavy imports stay inside the commands.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from jobs.cli.evaluation import calibrate_command, eval_command
from jobs.cli.nightly import nightly
from jobs.cli.options import example
from jobs.cli.results import compact, export, review
from jobs.cli.run import PLAN_EXAMPLE, RUN_EXAMPLE, plan, run
from jobs.cli.submitted import logs, status, stop
from jobs.cli.train import train_app
from jobs.cli.try_out import demo, doctor, questions_app, samples
from jobs.cli.usage import OneLineErrors
from jobs.cli.view import SHOW_EXAMPLE, annotate, report, show
from jobs.cli.watch import watch

DISTRIBUTION = "glimpse-docpipe"
app = typer.Typer(
    name="docpipe",
    cls=OneLineErrors,
    help="Answer questions about PDFs in bulk, with a vision-language model that keeps only the tokens that matter.",
    epilog=example(RUN_EXAMPLE),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import version

    typer.echo(f"docpipe {version(DISTRIBUTION)}")
    raise typer.Exit


@app.callback()
def docpipe(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options that belong to no command."""


app.command("run", epilog=example(RUN_EXAMPLE))(run)
app.command("plan", epilog=example(PLAN_EXAMPLE))(plan)
app.command("nightly", epilog=example("nightly --config job.toml"))(nightly)
app.command("show", epilog=example(SHOW_EXAMPLE))(show)
app.command("annotate", epilog=example("annotate answers/ --to annotated/"))(annotate)
app.command("report", epilog=example("report answers/ --price-per-hour 2.5"))(report)
app.add_typer(questions_app, name="questions")
app.command("doctor", epilog=example("doctor"))(doctor)
app.command("demo", epilog=example("demo --out demo/"))(demo)
app.command("samples", epilog=example("samples --out samples/ --documents 5"))(samples)
app.command("eval", epilog=example("eval --data samples/ --out scores.parquet"))(eval_command)
app.command("calibrate", epilog=example("calibrate --data samples/ --out calibration.json"))(calibrate_command)
app.command("export", epilog=example("export answers/ --to answers.xlsx"))(export)
app.command("review", epilog=example("review answers/ --import review.xlsx"))(review)
app.command("compact", epilog=example("compact answers/"))(compact)
app.command("watch", epilog=example("watch answers/"))(watch)
app.add_typer(train_app, name="train")
for _command in (status, logs, stop):
    app.command(epilog=example(f"{_command.__name__} raysubmit_1234 --address http://head:8265"))(_command)


def main() -> None:
    """Run the console script, and end the process with its exit code.

    Python's own way out takes the modules of torch apart first, which costs as much as loading a small model.
    """
    try:
        app(prog_name="docpipe", args=sys.argv[1:])
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        with suppress(BrokenPipeError):  # nobody reads any more
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(end.code)
