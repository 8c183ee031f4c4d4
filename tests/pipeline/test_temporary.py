from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.temporary import TemporaryFolder
from tests.support.markdown import ROOT

CALL = "from pipeline.temporary import TemporaryFolder; made = TemporaryFolder(); print(made.path, flush=True); "
Start = Callable[[], tuple[subprocess.Popen[str], Path]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process that makes a folder, and waits for its input to end; return it and the folder."""
    started: list[subprocess.Popen[str]] = []

    def one() -> tuple[subprocess.Popen[str], Path]:
        environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", CALL + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    yield one
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_killed_process_left_goes_with_the_next_one_and_nothing_else(start: Start, tmp_path: Path) -> None:
    (tmp_path / "docpipe-of-another-kind").mkdir()
    (killed, left), (_, in_use) = start(), start()
    (left / "big").write_bytes(b"0" * 100_000)
    killed.kill()
    killed.wait()
    assert left.exists()
    _, new = start()
    assert {path.name for path in tmp_path.iterdir()} == {in_use.name, new.name, "docpipe-of-another-kind"}


def test_a_process_that_ends_deletes_its_folder(start: Start) -> None:
    process, folder = start()
    process.communicate("\n")
    assert process.returncode == 0
    assert not folder.exists()


def test_a_folder_is_deleted_when_it_is_told_to_or_collected() -> None:
    told, collected = TemporaryFolder(), TemporaryFolder()
    told.delete()
    told.delete()
    gone = collected.path
    assert gone.is_dir()
    del collected
    assert not told.path.exists()
    assert not gone.exists()
