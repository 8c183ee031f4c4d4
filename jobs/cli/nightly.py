"""Defines ``docpipe nightly``, which does one run for a timer, and says what it came to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.submitted import submit_and_follow
from jobs.exit_codes import as_exit_code
from jobs.log import Log

if TYPE_CHECKING:
    from jobs.settings import RunSettings
    from pipeline.questions.file import QuestionSet

Job = Annotated[
    Path, typer.Option("--config", help="TOML file with the options of run, and thresholds in \\[nightly].")
]


def nightly(config: Job) -> None:
    """Answer what is new or changed, keep a record, and say what changed, failed, needs review and drifted."""
    with as_exit_code() as ending:
        from jobs.commands.nightly import hold_night
        from jobs.settings import load_asked, load_night

        settings, thresholds = load_night(config)
        ending.log = Log(settings.log_format)
        asked = load_asked(settings.questions, settings.schema_)
        code = hold_night(settings, asked, thresholds, _run, typer.echo)
    raise typer.Exit(code)


def _run(settings: RunSettings, questions: QuestionSet) -> int:
    if settings.address is not None:
        return submit_and_follow(settings, questions, settings.address)
    from jobs.run.job import run_job

    return int(run_job(settings, questions)["exit_code"])
