"""Runs from and to Google Cloud Storage, of which a server on loopback has the interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gcsfs import GCSFileSystem

from jobs.run.job import run_job
from pipeline.errors import OutputError, UsageError
from pipeline.output.folder import Folder
from pipeline.output.lock import NAME, OutputLock
from tests.support.colours import WHITE, load_colours, make_pdf
from tests.support.engines import QUESTIONS, settings_of
from tests.support.gcs_server import gcs_bucket
from tests.support.published import tables_wherever


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[GCSFileSystem]:
    with gcs_bucket(monkeypatch) as store:
        yield store


def test_what_is_written_is_read_and_deleted(gcs: GCSFileSystem) -> None:
    folder = Folder("gs://bucket/out")
    for number in range(12):
        folder.write(f"parts/{number:02}", bytes([number]) * 1000)
    assert folder.names("parts", "") == [f"parts/{number:02}" for number in range(12)]
    with folder.open("parts/07") as file:
        file.seek(990)
        assert file.read() == bytes([7]) * 10
    folder.delete("parts/07")
    assert folder.read("parts/07") is None
    with pytest.raises(OutputError, match="^cannot write gs://none/out/a: "):
        Folder("gs://none/out").write("a", b"")


def test_only_one_of_two_creates_a_file(gcs: GCSFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Folder("gs://bucket/out"), Folder("gs://bucket/out")
    assert first.create("a", b"1")
    assert not second.create("a", b"2")
    with monkeypatch.context() as earlier:
        earlier.setattr(second.fs, "exists", lambda _: False)  # it looked before the first one wrote
        assert not second.create("a", b"2")
    assert first.read("a") == b"1"
    with OutputLock(first), pytest.raises(UsageError, match="in use by process"), OutputLock(second):
        pytest.fail("two runs hold the folder")


def test_a_run_from_and_to_it_gives_the_rows_of_a_local_one(
    gcs: GCSFileSystem, tiny_base: Path, tmp_path: Path
) -> None:
    pdfs = tmp_path / "pdfs"
    (pdfs / "deep").mkdir(parents=True)
    for number in range(3):
        make_pdf(pdfs / "deep" / f"{number}.pdf", [WHITE] * 4)
    (pdfs / "damaged.pdf").write_bytes(b"no PDF")
    settings = settings_of(pdfs, tmp_path / "out", "local", tiny_base)
    run_job(settings, QUESTIONS, load=load_colours)
    gcs.put(str(pdfs), "bucket/in", recursive=True)
    there = settings.model_copy(update={"input": ("gs://bucket/in",), "output": "gs://bucket/out"})
    report = run_job(there, QUESTIONS, load=load_colours)
    again = run_job(there, QUESTIONS, load=load_colours)
    expected = tables_wherever(str(tmp_path / "out"))
    assert len(expected["pages"]) == 12
    assert tables_wherever("gs://bucket/out") == expected
    assert (report["exit_code"], report["counts"]["pending"], again["this_run"]["bundles"]) == (0, 0, 0)
    assert not gcs.exists(f"bucket/out/{NAME}")
