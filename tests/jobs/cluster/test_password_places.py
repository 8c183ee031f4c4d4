"""Passwords stay where they are: a submission says where they lie, and the job reads them there."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.cluster.payload import ENVIRONMENT_VARIABLE, main, pack, unpack
from jobs.cluster.submit import submit
from jobs.settings import RunSettings
from pipeline.errors import UsageError
from pipeline.pages.passwords import Passwords, look_up, read_places
from pipeline.questions.file import load_questions


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    (tmp_path / "q.yaml").write_text("version: 1\nquestions: [{id: a, text: b}]")
    return RunSettings(input=("in",), questions=str(tmp_path / "q.yaml"), output="out")


def test_the_places_of_passwords_travel_and_the_passwords_do_not(
    settings: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is submitted to a client that keeps what it is given, and unpacked as on the cluster."""
    sent: list[dict[str, Any]] = []
    client = SimpleNamespace(submit_job=lambda **given: sent.append(given) or "job")
    monkeypatch.setattr("jobs.cluster.submit._client", lambda _: client)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bank.txt").write_text("hunter2\n")
    asked = load_questions(settings.questions)

    def submitted(text: str, **changes: Any) -> str:
        (tmp_path / "p.yaml").write_text(text)
        given = {**settings.flat(), "password_file": "p.yaml", "questions": "q.yaml", "address": "auto", **changes}
        submit(RunSettings(**given), asked, "auto")
        assert sent[-1]["entrypoint"] == "python -m jobs.cluster.payload"
        return str(sent[-1]["runtime_env"]["env_vars"][ENVIRONMENT_VARIABLE])

    monkeypatch.setenv("BANK", "set here only")
    packed = submitted('"a/*.pdf": {env: BANK}\n"**": {file: bank.txt}', shared_fs=True)
    run, _, places = unpack(packed)
    assert places is not None
    assert (run.password_file, run.questions) == (f"{tmp_path}/p.yaml", f"{tmp_path}/q.yaml")
    content = zlib.decompress(base64.b64decode(packed)).decode()
    assert "hunter2" not in content
    assert "set here only" not in content
    monkeypatch.setenv("BANK", "set on the head")
    monkeypatch.chdir("/")
    assert look_up(places).by_glob == (("a/*.pdf", "set on the head"), ("**", "hunter2"))
    monkeypatch.delenv("BANK")
    with pytest.raises(UsageError, match="BANK is not set; set it, for a cluster where Ray is started on its head"):
        look_up(places)
    monkeypatch.chdir(tmp_path)
    here = {
        "input": ("s3://bucket/in",),
        "output": "s3://bucket/out",
        "model": "Qwen/x",
    }
    for text, words in (
        ('"**": {file: bank.txt}', "bank.txt is a file of this machine, which the cluster may not have"),
        ('"**": {env: BANK', "p.yaml:1: "),
    ):
        with pytest.raises(UsageError, match=words):
            submitted(text, **here)
    assert len(sent) == 1
    assert unpack(submitted('"**": {env: BANK}', **here))[2] is not None


def test_a_job_reads_passwords_where_it_runs(
    settings: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.yaml").write_text('"**": {env: BANK}')
    there = settings.model_copy(update={"password_file": "gone.yaml"})
    packed = pack(there, load_questions(settings.questions), read_places(str(tmp_path / "p.yaml")))
    (tmp_path / "p.yaml").unlink()
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, packed)
    monkeypatch.setenv("BANK", "hunter2")
    seen: list[Any] = []

    def run_job(run: RunSettings, _: object, address: str, passwords: Passwords) -> dict[str, Any]:
        seen.append((run.password_file, address, passwords.by_glob))
        raise UsageError("far enough")

    monkeypatch.setattr("jobs.run.job.run_job", run_job)
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code, seen) == (2, [("gone.yaml", "auto", (("**", "hunter2"),))])
