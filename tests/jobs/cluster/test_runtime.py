"""Nodes that have nothing but Ray install docpipe from a wheel, and a client that is lost takes nothing with it.

Those that have docpipe need none.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from ray.runtime_env import RuntimeEnv
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.cluster.runtime import runtime_env
from jobs.cluster.submit import submit
from jobs.settings import RunSettings
from pipeline.errors import UsageError
from tests.support.colours import WHITE, make_pdf
from tests.support.engines import QUESTIONS
from tests.support.markdown import ROOT
from tests.support.ports import free_port, wait_for_port

NAME = "glimpse_docpipe-0.1.0-py3-none-any.whl"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/constraints.txt").write_text("numpy==2.4.6\n")
    (tmp_path / "dist" / NAME).write_bytes(b"a wheel")
    return tmp_path / "dist" / NAME


def made(given: object, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    return runtime_env(str(given), folder)


def test_a_node_gets_the_wheel_and_its_pinned_list(wheel: Path, tmp_path: Path) -> None:
    environment = made(f"{wheel}[s3,tracing]", tmp_path / "travels")
    (inside,) = (tmp_path / "travels").iterdir()
    assert {path.name: path.read_bytes() for path in inside.iterdir()} == {
        NAME: b"a wheel",
        "constraints.txt": b"numpy==2.4.6\n",
    }
    there = f"${{RAY_RUNTIME_ENV_CREATE_WORKING_DIR}}/{inside.name}"
    assert environment == {
        "working_dir": str(tmp_path / "travels"),
        "pip": {
            "packages": [f"--constraint {there}/constraints.txt", f"{there}/{NAME}[s3,tracing]"],
            "pip_check": False,
        },
    }
    RuntimeEnv(**environment)  # as Ray checks it


def test_the_same_wheel_is_the_same_environment_and_another_is_another(wheel: Path, tmp_path: Path) -> None:
    first, second = made(wheel, tmp_path / "1")["pip"], made(wheel, tmp_path / "2")["pip"]
    wheel.write_bytes(b"a new wheel")
    third = made(wheel, tmp_path / "3")["pip"]
    wheel.with_name("constraints.txt").write_text("numpy==2.4.7\n")
    fourth = made(wheel, tmp_path / "4")["pip"]
    assert first == second
    assert len({str(pip["packages"]) for pip in (first, third, fourth)}) == 3


@pytest.mark.parametrize("given", ["nowhere.whl", "", "docpipe", "dist", "a.whl[", "a.whl]s3["])
def test_what_is_no_wheel_is_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a wheel that `make wheel` built"):
        made(given, tmp_path / "travels")


def test_a_wheel_without_its_list_is_refused(wheel: Path, tmp_path: Path) -> None:
    wheel.with_name("constraints.txt").unlink()
    with pytest.raises(UsageError, match=r"expected constraints.txt beside it, found none"):
        made(wheel, tmp_path / "travels")


def test_a_submission_carries_it_beside_the_settings(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []

    def submit_job(**given: Any) -> str:
        sent.append(given["runtime_env"])
        assert list(Path(given["runtime_env"].get("working_dir", "")).rglob("*.whl")) or "pip" not in sent[-1]
        return "job"

    monkeypatch.setattr("jobs.cluster.submit._client", lambda _: SimpleNamespace(submit_job=submit_job))
    run = RunSettings(input=("s3://b/in",), questions="q.yaml", output="s3://b/out", address="http://head:8265")
    for given in (None, str(wheel)):
        submit(run.model_copy(update={"wheel": given}), QUESTIONS, "http://head:8265")
    assert [set(environment) for environment in sent] == [{"env_vars"}, {"env_vars", "working_dir", "pip"}]
    assert sent[0]["env_vars"] == sent[1]["env_vars"]  # the wheel is a path of this machine, which does not travel
    assert not Path(sent[1]["working_dir"]).exists()


@dataclass(frozen=True)
class BareCluster:
    """A head whose Python has Ray and the libraries of the tests' own, and no docpipe.

    Attributes:
        address: of its Jobs API.
        packages: folder with the packages of its Python.
    """

    address: str
    packages: Path


@pytest.fixture
def bare_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BareCluster]:
    libraries, bare = tmp_path / "libraries", tmp_path / "bare"
    libraries.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "glimpse" not in path.name:
            (libraries / path.name).symlink_to(path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    (site,) = bare.glob("lib/*/site-packages")
    (site / "libraries.pth").write_text(f"{libraries}\n")
    python, port = bare / "bin/python", free_port()
    command = [python, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2"]
    command += [f"--port={free_port()}", f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"]
    # Ray gives a job the address of the cluster that wrote it last into the folder that all share by default. The
    # names of its sockets have to be short.
    home = tempfile.mkdtemp(prefix="r", dir="/tmp")
    command += [f"--temp-dir={home}"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    environment |= {"PATH": f"{bare}/bin:{os.environ['PATH']}", "VIRTUAL_ENV": str(bare)}
    del environment["PYTHONPATH"]
    (tmp_path / "elsewhere").mkdir()
    probe = "from importlib.util import find_spec; print([bool(find_spec(name)) for name in ('ray', 'torch', 'jobs')])"
    has = subprocess.check_output([python, "-c", probe], env=environment, text=True, cwd=tmp_path)
    assert json.loads(has.lower()) == [True, True, False]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    head = subprocess.Popen(
        [str(word) for word in command],
        cwd=tmp_path / "elsewhere",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_port(port)
        yield BareCluster(f"http://127.0.0.1:{port}", site)
    finally:
        subprocess.run(["pkill", "-KILL", "-s", str(head.pid)], check=False)
        head.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_a_node_with_nothing_but_ray_does_a_run_whose_client_is_killed(
    bare_cluster: BareCluster, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "glimpseprune", "pipeline", "jobs"):
        (clone / name).symlink_to(ROOT / name)
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path / "dist"), "."]
    subprocess.run(build, cwd=clone, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (tmp_path / "dist/constraints.txt").write_bytes((ROOT / "constraints.txt").read_bytes())
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in/a.pdf", [WHITE] * 5)
    (tmp_path / "q.yaml").write_text('version: 1\nquestions: [{id: total, text: "What is the total?"}]')

    command = [sys.executable, "-m", "jobs", "run", "--input", tmp_path / "in", "--questions", tmp_path / "q.yaml"]
    at = ["--address", bare_cluster.address]
    command = [str(word) for word in [*command, *at, "--shared-fs", "--output"]]
    client = subprocess.Popen(
        [*command, str(tmp_path / "out"), "--wheel", str(wheel)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stderr is not None
    begun = (line.split()[1].rstrip(";") for line in client.stderr if line.startswith("following "))
    (job,) = itertools.islice(begun, 1)
    os.kill(client.pid, signal.SIGKILL)
    client.wait()

    followed = CliRunner().invoke(app, ["logs", job, *at])
    assert followed.exit_code == 0, followed.output
    assert "1 document, 5 pages, 5 answers" in followed.output
    assert "succeeded" in CliRunner().invoke(app, ["status", job, *at]).stdout
    assert pq.read_table(tmp_path / "out/answers").num_rows == 5

    (bare_cluster.packages / "docpipe.pth").write_text(f"{ROOT}\n")  # from now on it is installed there
    again = CliRunner().invoke(app, [*command[3:], str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    assert "1 document, 5 pages, 5 answers" in again.stdout
    assert pq.read_table(tmp_path / "again/answers").num_rows == 5
    other = again.stderr.split("following ")[1].split(";")[0]
    assert other != job
    assert "succeeded" in CliRunner().invoke(app, ["status", other, *at]).stdout
