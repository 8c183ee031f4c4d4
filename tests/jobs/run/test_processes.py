"""Whole runs as a user starts them: in processes of their own, interrupted, killed, submitted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pymupdf
import pytest
from typer.testing import CliRunner

from jobs.cli.main import app

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


def times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}


def check_resumed(command: list[str], out: Path, committed: dict[str, int]) -> None:
    """Run the command in this process; it does what is left, too little to start Ray for, and nothing twice."""
    done = CliRunner().invoke(app, command[3:])
    assert done.exit_code == 0, done.output
    assert f"{PAGES} answers" in done.stdout
    table = pq.read_table(out / "answers")
    assert len({(r["unit_id"], r["page"]) for r in table.to_pylist()}) == table.num_rows == PAGES
    assert committed.items() <= times(out).items()
    assert not list((out / "inflight").iterdir())


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
    check_resumed(command, out, times(out))


def test_a_run_that_is_killed_resumes(command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(command)
    wait_for_parts(out, process)
    process.kill()
    process.communicate(timeout=60)
    subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)  # its Ray, which shares the session
    check_resumed(command, out, times(out))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_run_is_submitted_and_followed(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_folder = Path(sys.executable).parent
    # The cluster's own python has docpipe installed.
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    port = free_port()
    # Ports of its own: the agent that takes jobs does not start where another Ray here has taken the default one.
    start = [bin_folder / "ray", "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}"]
    start += [f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}", "--disable-usage-stats"]
    cluster = subprocess.Popen(
        [str(word) for word in start],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_listens(port)
        done = CliRunner().invoke(app, [*command[3:], "--limit", "1", "--address", address, "--shared-fs"])
        assert done.exit_code == 0, done.output
        assert "1 document, 17 pages, 17 answers" in done.stdout
        job = done.stderr.split("following ")[1].split(";")[0]
        status = CliRunner().invoke(app, ["status", job, "--address", address])
        assert "succeeded" in status.stdout
    finally:
        subprocess.run(["pkill", "-KILL", "-s", str(cluster.pid)], check=False)
        cluster.wait(timeout=30)
    assert pq.read_table(tmp_path / "out" / "answers").num_rows == 17


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the cluster does not start")
