"""Defines ``docpipe status``, ``logs`` and ``stop``, and submits and follows a run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from jobs.cli.options import ClusterAddress, Job
from jobs.exit_codes import DONE, INTERRUPTED

if TYPE_CHECKING:
    from jobs.settings import RunSettings
    from pipeline.questions.file import QuestionSet


def submit_and_follow(settings: RunSettings, questions: QuestionSet, address: str) -> int:
    """Submit a run and follow it, unless ``settings.detach`` is set.

    Args:
        settings: settings of the run.
        questions: questions to ask.
        address: Jobs API of the cluster, or ``auto``.

    Returns:
        The exit code.
    """
    from jobs.cluster.submit import submit

    job = submit(settings, questions, address)
    if settings.detach:
        typer.echo(job)
        return DONE
    return _follow(job, address)


def _follow(job: str, address: str) -> int:
    """Print the log of a job until it ends; Ctrl-C leaves it running."""
    from jobs.cluster.submit import follow

    typer.echo(f"following {job}; Ctrl-C leaves it running", err=True)
    try:
        return follow(job, address, partial(typer.echo, nl=False))
    except KeyboardInterrupt:
        typer.echo(f"\nleft running; docpipe status|logs|stop {job} --address {address}", err=True)
        return INTERRUPTED


def status(job: Job, address: ClusterAddress = "auto") -> None:
    """Print the state of a submitted run."""
    from jobs.cluster.submit import job_status

    typer.echo(job_status(job, address))


def logs(job: Job, address: ClusterAddress = "auto") -> None:
    """Follow the log of a submitted run, and end with its exit code."""
    raise typer.Exit(_follow(job, address))


def stop(job: Job, address: ClusterAddress = "auto") -> None:
    """Stop a submitted run; committed work stays, and submitting the same run again resumes it."""
    from jobs.cluster.submit import stop_job

    typer.echo(stop_job(job, address))
