"""A whole run as a user starts it: in a process of its own, on Ray, interrupted and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pymupdf
import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from tests.support.published import part_times

pytestmark = pytest.mark.slow

PAGES = 68  # enough that a run takes Ray
QUESTIONS = 'version: 1\ndefaults: {max_new_tokens: 4}\nquestions: [{id: a, text: "What?"}]\n'


@pytest.fixture
def command(tmp_path: Path, tiny_base: Path, tiny_addon: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # workers give way to everything else, and tests have a time limit
    (tmp_path / "in").mkdir()
    for number in range(4):
        with pymupdf.open() as pdf:
            for page in range(17):  # two of them do not fit into one bundle
                pdf.new_page(width=200, height=300).insert_text((20, 50), f"document {number} page {page}")
            pdf.save(tmp_path / "in" / f"{number}.pdf")
    (tmp_path / "q.yaml").write_text(QUESTIONS)
    flags = {
        "--input": tmp_path / "in",
        "--questions": tmp_path / "q.yaml",
        "--output": tmp_path / "out",
        "--model": tiny_base,
        "--glimpse": tiny_addon,
        "--dpi": 72,
        "--max-visual-tokens": 16,
    }
    return [sys.executable, "-m", "jobs", "run", *(str(word) for pair in flags.items() for word in pair)]


def wait_for_parts(output: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if (output / "parts").is_dir() and any((output / "parts").iterdir()):
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"no part was committed: {process.communicate()}")


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_run_that_is_interrupted_resumes(command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(command)
    wait_for_parts(out, process)
    os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal does
    said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    run = json.loads((out / "run.json").read_text())
    assert (run["engine"], run["interrupted"]) == ("ray", True)
    assert run["counts"]["pending"] > 0
    assert run["counts"]["planned"] == PAGES == sum(v for k, v in run["counts"].items() if k != "planned")
    assert pq.read_table(out / "answers").num_rows == PAGES - run["counts"]["pending"]
    assert not (out / ".docpipe.lock").exists()
    assert not list((out / "inflight").iterdir())
    assert "interrupted; the same command resumes" in said[0].splitlines()

    committed = part_times(out)
    done = CliRunner().invoke(app, command[3:])  # what is left is too little to start Ray for
    assert done.exit_code == 0, done.output
    assert f"{PAGES} answers" in done.stdout
    table = pq.read_table(out / "answers")
    assert len({(r["unit_id"], r["page"]) for r in table.to_pylist()}) == table.num_rows == PAGES
    assert committed.items() <= part_times(out).items()
