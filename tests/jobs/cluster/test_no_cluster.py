"""A Ray that has ended leaves its address behind; a command that finds it says so at once, in one line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.cluster.submit import job_status
from pipeline.errors import EngineError


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of the address that a Ray which has ended left behind; nothing listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda _folder: f"127.0.0.1:{port}")
    return port


@pytest.mark.parametrize(
    "command",
    ["status x", "logs x", "stop x", "run -i in -q q.yaml -o out --address auto --shared-fs"],
)
def test_a_ray_that_has_ended_is_one_line(
    command: str, ended: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("q.yaml").write_text("version: 1\nquestions: [{id: a, text: b}]")
    outcome = CliRunner().invoke(app, command.split())
    assert outcome.exit_code == 3, outcome.output
    *before, line = outcome.stderr.splitlines()
    assert before in ([], ["following x; Ctrl-C leaves it running"])
    assert line.startswith("docpipe: Ray at auto: expected a running Ray, found nothing at ")
    assert f":{ended}, where the last one ran (" in line  # Ray writes this machine's own address before the port
    assert line.endswith("or name another with --address http://head:8265")


def test_an_error_of_ray_itself_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.exceptions import RpcError

    def fail(_address: str) -> None:
        raise RpcError("Timed out while waiting for GCS to become available.")

    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", fail)
    with pytest.raises(EngineError, match="Ray at http://head:8265: Timed out while waiting"):
        job_status("x", "http://head:8265")
