"""The command line starts fast, since it imports what a command needs when it needs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "jobs", "--help"], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - started
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert not modules & {"torch", "ray", "transformers", "pymupdf", "pyarrow", "numpy"}
    assert seconds < 5  # under 1 s on a machine that is not busy with other things
    assert "Usage: docpipe" in done.stdout


def test_an_interruption_while_the_command_line_is_imported_is_one_word() -> None:
    code = (
        "import os, signal, sys\n"
        # A shell has what it starts in the background ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Impatient:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from jobs.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"docpipe": "jobs.__main__:main"}


@pytest.mark.parametrize("module", ["jobs.run.job", "jobs.cluster.submit", "jobs.commands.forecast"])
def test_the_driver_stays_light(module: str) -> None:
    heavy = {"torch", "transformers", "pymupdf", "ray", "huggingface_hub.hf_api"}
    code = f"import {module}, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "[]"
