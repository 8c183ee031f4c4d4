"""Runs of the plain loop in a process of its own, for tests that kill, interrupt or limit one.

The process is forked from one that imports torch and the rest once for all tests; it has no Ray and no threads.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import fsspec

from jobs.cli.main import main
from jobs.run.job import run_job
from tests.support import colours, engines

_OWN_USER, _OWN_MOUNTS = 0x10000000, 0x00020000  # CLONE_NEWUSER and CLONE_NEWNS

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [__name__, "jobs.run.loop_engine", "transformers.modeling_utils", "pipeline.answering.page_answerer"]
)


def start_loop(load: str, base: Path, pdfs: Path, out: Path, deadline: float | None = None) -> BaseProcess:
    """Start a run in a session of its own; its exit code is the run's, and ``out.log`` has its standard error."""
    process = _forks.Process(target=_loop, args=(load, base, pdfs, out, deadline))
    process.start()
    return process


def start_command(words: Sequence[object], folder: Path, environment: Mapping[str, str]) -> BaseProcess:
    """Start ``docpipe`` with some arguments in a folder, where ``said`` has what it writes to standard error."""
    process = _forks.Process(target=_command, args=([*map(str, words)], folder, dict(environment)))
    process.start()
    return process


def start_limited(words: Sequence[object], folder: Path, file_bytes: int) -> BaseProcess:
    """As :func:`start_command`; no file that it writes may be larger."""
    process = _forks.Process(target=_limited, args=([*map(str, words)], folder, file_bytes))
    process.start()
    return process


def start_in_mounts(words: Sequence[object], folder: Path, scripts: Mapping[str, str], after: str) -> BaseProcess:
    """Run ``docpipe`` several times in turn, among file systems that nobody else sees.

    Args:
        words: its arguments.
        folder: folder that it runs in; ``codes.json`` there has its exit codes.
        scripts: by a name for what a run writes to standard error, what the shell does before that run.
        after: what the shell does at the end.
    """
    process = _forks.Process(target=_in_mounts, args=([*map(str, words)], folder, dict(scripts), after))
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


def _command(words: list[str], folder: Path, environment: dict[str, str], name: str = "said") -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    fsspec.config.set_conf_env(fsspec.config.conf)
    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = ["docpipe", *words]
    main()


def _limited(words: list[str], folder: Path, file_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    _command(words, folder, {})


def _in_mounts(words: list[str], folder: Path, scripts: dict[str, str], after: str) -> None:
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_OWN_USER | _OWN_MOUNTS):
        raise OSError(ctypes.get_errno(), "no mounts of its own")
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", name).write_text(line)
    codes = []
    for name, script in scripts.items():
        subprocess.run(["sh", "-ec", script], cwd=folder, check=True)
        child = os.fork()
        if child == 0:
            _command(words, folder, {}, name)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    subprocess.run(["sh", "-ec", after], cwd=folder, check=True)
    (folder / "codes.json").write_text(json.dumps(codes))
