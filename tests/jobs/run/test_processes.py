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

pytestmark = pytest.mark.slow

QUESTIONS = 'version: 1\ndefaults: {max_new_tokens: 4}\nquestions: [{id: a, text: "What?"}]\n'


@pytest.fixture
def command(tmp_path: Path, tiny_base: Path, tiny_addon: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # workers give way to everything else, and tests have a time limit
    (tmp_path / "in").mkdir()
    for number in range(5):
        with pymupdf.open() as pdf:
            for page in range(20):  # two of them do not fit into one bundle
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


@pytest.mark.timeout(300)  # two whole runs on Ray, in processes of their own
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_resumes(command: list[str], tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_parts(out, process)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # to the whole group, as a terminal does
    else:
        process.send_signal(how)
    said = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130, said
        run = json.loads((out / "run.json").read_text())
        assert run["interrupted"]
        assert run["counts"]["skipped"] > 0
        assert run["counts"]["planned"] == 100 == sum(v for k, v in run["counts"].items() if k != "planned")
        assert pq.read_table(out / "answers").num_rows == 100 - run["counts"]["skipped"]
        assert not (out / ".docpipe.lock").exists()
        assert not list((out / "inflight").iterdir())
        assert "interrupted; the same command resumes" in said[0].splitlines()
    else:
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)  # its Ray, which shares the session
    committed = {path.name: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(out / "answers")
    assert len({(r["unit_id"], r["page"]) for r in table.to_pylist()}) == table.num_rows == 100
    after = {path.name: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    assert committed.items() <= after.items()
    assert not list((out / "inflight").iterdir())
    assert "100 answers" in done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_run_is_submitted_and_followed(command: list[str], tmp_path: Path) -> None:
    bin_folder = Path(sys.executable).parent
    # The cluster's own python has docpipe installed.
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    port = free_port()
    # Ports of its own: the agent that takes jobs does not start where another Ray here has taken the default one.
    start = [bin_folder / "ray", "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}"]
    start += [f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}", "--disable-usage-stats"]
    cluster = subprocess.Popen(
        [str(word) for word in start],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_listens(port)
        submit = [*command, "--limit", "1", "--address", address, "--shared-fs"]
        done = subprocess.run(submit, capture_output=True, text=True, check=False, env=environment, timeout=100)
        assert done.returncode == 0, done.stderr + done.stdout
        assert "1 documents, 20 pages, 20 answers" in done.stdout
        job = done.stderr.split("following ")[1].split(";")[0]
        status = subprocess.run(
            [sys.executable, "-m", "jobs", "status", job, "--address", address],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert "succeeded" in status.stdout
    finally:
        subprocess.run(["pkill", "-KILL", "-s", str(cluster.pid)], check=False)
        cluster.wait(timeout=30)
    assert pq.read_table(tmp_path / "out" / "answers").num_rows == 20


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the cluster does not start")
