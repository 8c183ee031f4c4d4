"""Whole runs as a user starts them: in processes of their own, interrupted, killed, submitted."""

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

pytestmark = pytest.mark.slow

QUESTIONS = 'version: 1\ndefaults: {max_new_tokens: 4}\nquestions: [{id: a, text: "What?"}]\n'


@pytest.fixture
def command(tmp_path: Path, tiny_base: Path, tiny_addon: Path) -> list[str]:
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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_resumes(command: list[str], tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_parts(out, process)
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


CLUSTER = """
import ray, sys
context = ray.init(address="local", num_cpus=2, include_dashboard=True, dashboard_port=0, log_to_driver=False)
print("http://" + context.dashboard_url, flush=True)
sys.stdin.read()
"""


def test_a_run_is_submitted_and_followed(command: list[str], tmp_path: Path) -> None:
    here = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the cluster's own python has docpipe installed
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PATH": here}
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        submit = [*command, "--limit", "1", "--address", address, "--shared-fs"]
        done = subprocess.run(submit, capture_output=True, text=True, check=False, env=environment, timeout=100)
        assert done.returncode == 0, done.stderr + done.stdout
        assert "1 documents, 20 pages, 20 answers" in done.stdout
        job = done.stderr.split("submitted as ")[1].split(";")[0]
        status = subprocess.run(
            [sys.executable, "-m", "jobs", "status", job, "--address", address],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert "SUCCEEDED" in status.stdout
    finally:
        cluster.communicate(timeout=30)
    assert pq.read_table(tmp_path / "out" / "answers").num_rows == 20
