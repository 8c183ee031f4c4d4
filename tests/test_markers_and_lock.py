from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import lock as lock_module
from pipeline.errors import UsageError
from pipeline.folder import Folder
from pipeline.lock import OutputLock
from pipeline.markers import Markers


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_each_death_is_remembered_until_the_bundle_is_done(tmp_path: Path, scheme: str) -> None:
    folder = Folder(scheme + str(tmp_path / "out"))
    markers = Markers(folder)
    first = markers.begin("b")
    assert (first.number, first.crashed) == (1, frozenset())
    second = Markers(folder).begin("b")  # another process: the first one died
    assert (second.number, second.crashed) == (2, frozenset())
    markers.note("b", second, "doc", 3)
    markers.note("b", second, "doc", 4)
    third = Markers(folder).begin("b")
    assert (third.number, third.crashed) == (3, frozenset({("doc", 4)}))
    markers.note("b", third, "doc", 7)
    fourth = Markers(folder).begin("b")
    assert (fourth.number, fourth.crashed) == (4, frozenset({("doc", 4), ("doc", 7)}))
    assert markers.begin("other").number == 1
    markers.done("b")
    markers.done("b")
    assert markers.begin("b").number == 1


def test_a_second_writer_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "out"))
    with OutputLock(folder):
        with pytest.raises(UsageError, match=rf"process {os.getpid()} on .* since 20"), OutputLock(Folder(folder.uri)):
            pass
        assert (tmp_path / "out" / ".docpipe.lock").exists()
    assert not (tmp_path / "out" / ".docpipe.lock").exists()
    with OutputLock(folder):
        pass


def test_locks_on_object_stores() -> None:
    folder = Folder("memory://locked")
    with OutputLock(folder), pytest.raises(UsageError, match="is being written"), OutputLock(Folder("memory://locked")):
        pass


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pipeline.folder import Folder\nfrom pipeline.lock import OutputLock\n"
        f"OutputLock(Folder({str(tmp_path)!r})).__enter__()\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (tmp_path / ".docpipe.lock").exists()
    with OutputLock(Folder(str(tmp_path))):
        assert json.loads((tmp_path / ".docpipe.lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("age", [0.0, lock_module.STALE_SECONDS + 1])
def test_the_lock_of_another_machine_is_stale_after_a_while(tmp_path: Path, age: float) -> None:
    holder = {"host": "elsewhere", "pid": 1, "born": 0, "started": 0, "beat": time.time() - age}
    (tmp_path / ".docpipe.lock").write_text(json.dumps(holder))
    if age:
        with OutputLock(Folder(str(tmp_path))):
            pass
    else:
        with pytest.raises(UsageError, match="on elsewhere"), OutputLock(Folder(str(tmp_path))):
            pass


def test_half_a_lock_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / ".docpipe.lock").write_text('{"host": "el')
    with OutputLock(Folder(str(tmp_path))):
        pass


def test_the_holder_refreshes_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "_BEAT_SECONDS", 0.05)
    with OutputLock(Folder(str(tmp_path))):
        first = json.loads((tmp_path / ".docpipe.lock").read_text())["beat"]
        deadline = time.monotonic() + 5
        while json.loads((tmp_path / ".docpipe.lock").read_text())["beat"] == first and time.monotonic() < deadline:
            time.sleep(0.02)
        assert json.loads((tmp_path / ".docpipe.lock").read_text())["beat"] > first
