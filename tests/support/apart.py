"""Runs of the plain loop in a process of its own, for tests that kill or interrupt one.

The process is forked from one that imports torch and the rest once for all tests; it has no Ray and no threads.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from jobs.run.job import run_job
from tests.support import colours, engines

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__, "jobs.run.loop_engine", "transformers.modeling_utils"])


def start_loop(load: str, base: Path, pdfs: Path, out: Path, deadline: float | None = None) -> BaseProcess:
    """Start a run in a session of its own; its exit code is the run's, and ``out.log`` has its standard error."""
    process = _forks.Process(target=_loop, args=(load, base, pdfs, out, deadline))
    process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    """Wait for the end, and return the exit code: a signal that killed the process is negative."""
    process.join(60)
    return process.exitcode


def _loop(load: str, base: Path, pdfs: Path, out: Path, deadline: float | None) -> None:
    os.setsid()
    os.dup2(os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    loader = getattr(engines if load == "load_stuck" else colours, load)
    settings = engines.settings_of(pdfs, out, "local", base, deadline=deadline)
    sys.exit(run_job(settings, engines.QUESTIONS, load=loader)["exit_code"])
