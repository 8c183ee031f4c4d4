"""Runs on storage that fails: an S3 that refuses calls, a disk that fills, an output that cannot be written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.run.job import run_job
from jobs.settings import RunSettings
from pipeline.errors import OutputError
from pipeline.output.folder import Folder
from pipeline.output.lock import NAME
from tests.support.apart import exit_code, start_command, start_in_mounts, start_limited
from tests.support.colours import WHITE, load_colours, make_pdf
from tests.support.engines import QUESTIONS, settings_of
from tests.support.published import tables_wherever
from tests.support.s3_server import S3Server, s3_bucket

RUN = ["run", "--engine", "local", "--device", "cpu", "--max-failed-share", "0.5"]
HERE = [*RUN, "-i", "pdfs", "-q", "q.yaml", "-o", "out"]
ASKED = 'version: 1\nquestions: [{id: a, text: "What is the total?", max_new_tokens: 2}]\n'


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_bucket(monkeypatch) as server:
        yield server


@pytest.fixture
def pdfs(tmp_path: Path) -> Path:
    (tmp_path / "pdfs" / "deep").mkdir(parents=True)
    for number in range(5):
        make_pdf(tmp_path / "pdfs" / f"{number}.pdf", [WHITE] * 9)
    (tmp_path / "pdfs" / "deep" / "damaged.pdf").write_bytes(b"no PDF")
    return tmp_path / "pdfs"


def on_s3(settings: RunSettings) -> RunSettings:
    return settings.model_copy(update={"input": ("s3://bucket/in",), "output": "s3://bucket/out"})


def report_at(uri: str) -> dict[str, Any]:
    data = Folder(uri).read("run.json")
    assert data is not None
    found: dict[str, Any] = json.loads(data)
    return found


@pytest.mark.slow
def test_a_run_from_and_to_s3_gives_all_rows_though_a_fifth_of_the_calls_fail(
    s3: S3Server, pdfs: Path, tiny_base: Path, tmp_path: Path
) -> None:
    settings = settings_of(pdfs, tmp_path / "out", "local", tiny_base)
    run_job(settings, QUESTIONS, load=load_colours)
    S3FileSystem().put(str(pdfs), "bucket/in", recursive=True)
    s3.share = 0.2
    report = run_job(on_s3(settings), QUESTIONS, load=load_colours)
    again = run_job(on_s3(settings), QUESTIONS, load=load_colours)
    s3.share = 0.0
    assert min(s3.refused[status] for status in ("503 Slow Down", "500 Internal Server Error")) > 10
    assert 0.15 < s3.refused.total() / (s3.refused.total() + s3.served.total()) < 0.25
    expected = tables_wherever(str(tmp_path / "out"))
    assert [len(expected[name]) for name in ("answers", "pages", "failures")] == [45 + 10 + 2, 45, 2]
    assert tables_wherever("s3://bucket/out") == expected
    assert (report["exit_code"], report["counts"]["failed"], report["counts"]["pending"]) == (0, 2, 0)
    assert again["this_run"]["bundles"] == 0
    assert not S3FileSystem().exists(f"bucket/out/{NAME}")
    assert not S3FileSystem().find("bucket/out/inflight")


@pytest.mark.slow
def test_a_run_that_lost_its_store_says_so_and_completes_when_run_again(
    s3: S3Server, pdfs: Path, tmp_path: Path
) -> None:
    """A process of its own, since the lock of one that goes on is not taken over."""
    S3FileSystem().put(str(pdfs), "bucket/in", recursive=True)
    (tmp_path / "q.yaml").write_text(ASKED)
    few_tries = '{"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 2}}}'
    run = [*RUN, "--input", "s3://bucket/in", "--questions", tmp_path / "q.yaml", "--output", "s3://bucket/out"]

    s3.only, s3.share = "(PUT|HEAD) /bucket/out/(parts|answers|run.json)", 1.0
    assert exit_code(start_command(run, tmp_path, {**s3.environment, "FSSPEC_S3": few_tries})) == 3
    lost = (tmp_path / "said").read_text()
    (line,) = [line for line in lost.splitlines() if line.startswith("docpipe: cannot")]
    assert line.startswith("docpipe: cannot write s3://bucket/out/")
    assert line.endswith("check access and free space, then run the same command again")
    assert "Traceback" not in lost

    s3.share = 0.0
    found = CliRunner().invoke(app, list(map(str, run)))
    assert found.exit_code == 0, found.output
    assert report_at("s3://bucket/out")["counts"]["pending"] == 0
    assert len(tables_wherever("s3://bucket/out")["answers"]) == 46


def test_an_output_on_s3_that_may_not_be_written_is_refused_before_any_work(
    s3: S3Server, pdfs: Path, tiny_base: Path, tmp_path: Path
) -> None:
    S3FileSystem().put(str(pdfs), "bucket/in", recursive=True)
    s3.only, s3.share, s3.statuses = "PUT /bucket/out", 1.0, ("403 Forbidden",)
    with pytest.raises(OutputError, match="^cannot write s3://bucket/out/.docpipe.lock: Access Denied; check access"):
        run_job(on_s3(settings_of(pdfs, tmp_path / "out", "local", tiny_base)), QUESTIONS, load=load_colours)
    assert S3FileSystem().find("bucket/out") == []


def _may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", "mount -t tmpfs none /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


may_mount = pytest.mark.skipif(not _may_mount(), reason="file systems may not be mounted here")


@pytest.mark.slow
@may_mount
def test_a_disk_that_fills_ends_the_run_and_the_rerun_completes(pdfs: Path, tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(ASKED)
    (tmp_path / "out").mkdir()
    scripts = {
        "full": "mount -t tmpfs -o size=1m none out; head -c 1000000 /dev/zero > out/ballast",
        "rerun": "rm out/ballast",
        "readonly": "mount -o remount,ro out",
    }
    assert exit_code(start_in_mounts(HERE, tmp_path, scripts, after="cp -r out kept")) == 0
    said = {name: (tmp_path / name).read_text() for name in scripts}
    assert json.loads((tmp_path / "codes.json").read_text()) == [2, 0, 2], said
    for name, reason in (("full", os.strerror(28)), ("readonly", os.strerror(30))):
        last = said[name].splitlines()[-1]
        assert last.startswith("docpipe: cannot write out/")
        assert reason in last
        assert last.endswith("check access and free space, then run the same command again")
        assert "Traceback" not in said[name]
    report = report_at(str(tmp_path / "kept"))
    assert (report["exit_code"], report["counts"]["pending"], report["counts"]["planned"]) == (0, 0, 46)
    assert len(tables_wherever(str(tmp_path / "kept"))["answers"]) == 46
    assert not [name for name in os.listdir(tmp_path / "kept") if ".tmp-" in name]


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(pdfs: Path, tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(ASKED)
    assert exit_code(start_limited(HERE, tmp_path, file_bytes=4096)) == 2
    assert os.strerror(27) in (tmp_path / "said").read_text().splitlines()[-1]
