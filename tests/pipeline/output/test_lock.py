from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline.errors import EngineError, OutputError, UsageError
from pipeline.output import lock
from pipeline.output.folder import Folder
from pipeline.output.lock import NAME, OutputLock

HOLD = """
import sys
from pipeline.output.folder import Folder
from pipeline.output.lock import OutputLock
with OutputLock(Folder(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["local", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "out")
        return
    name = f"memory://{uuid.uuid4().hex}/out"
    fsspec.filesystem("memory").makedirs(name)
    yield name
    fsspec.filesystem("memory").rm(name.rsplit("/", 1)[0], recursive=True)


def holder(uri: str) -> dict[str, Any]:
    data = Folder(uri).read(NAME)
    assert data is not None
    found: dict[str, Any] = json.loads(data)
    return found


def age(uri: str, seconds: float, **changed: object) -> None:
    """Make the lock look as if its holder had been silent for so long."""
    then = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    Folder(uri).write(NAME, json.dumps({**holder(uri), "heartbeat": then, **changed}).encode())


def files(uri: str) -> list[str]:
    fs, root = fsspec.url_to_fs(uri)
    return [path.removeprefix(f"{root}/") for path in fs.find(root)]


def test_one_run_at_a_time(uri: str) -> None:
    with OutputLock(Folder(uri)):
        me = holder(uri)
        with (
            pytest.raises(UsageError, match=rf"in use by process {me['pid']} on {me['host']} since .* UTC"),
            OutputLock(Folder(uri)),
        ):
            pytest.fail("two runs hold the folder")
        assert holder(uri) == me
    assert files(uri) == []
    with OutputLock(Folder(uri)):
        assert holder(uri)["token"] != me["token"]


def test_the_lock_goes_with_an_exception_too(uri: str) -> None:
    with pytest.raises(KeyboardInterrupt), OutputLock(Folder(uri)):
        raise KeyboardInterrupt
    assert files(uri) == []


def test_a_holder_that_was_killed_is_followed_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {process.pid} "), OutputLock(Folder(str(tmp_path))):
            pytest.fail("the holder is alive")
        process.kill()
        # Not waited for yet: a zombie holds nothing.
        deadline = time.monotonic() + 10
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
        with OutputLock(Folder(str(tmp_path))):
            assert holder(str(tmp_path))["pid"] != process.pid
    assert files(str(tmp_path)) == []


def test_a_pid_that_was_given_out_again_does_not_hold(uri: str) -> None:
    with OutputLock(Folder(uri), heartbeat_seconds=1000):
        age(uri, 0, born="1", token="earlier")
        with OutputLock(Folder(uri)):
            assert holder(uri)["born"] != "1"


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_jumps_an_hour_frees_no_lock_of_a_living_process(uri: str, seconds: float) -> None:
    with OutputLock(Folder(uri), heartbeat_seconds=1000) as mine:
        age(uri, seconds)
        with pytest.raises(UsageError, match="in use by process"), OutputLock(Folder(uri)):
            pytest.fail("two runs hold the folder")
        mine.check()
    assert files(uri) == []


@pytest.mark.parametrize(("seconds", "free"), [(290, False), (310, True)])
def test_a_holder_elsewhere_is_followed_after_five_minutes_of_silence(uri: str, seconds: float, free: bool) -> None:
    with OutputLock(Folder(uri), heartbeat_seconds=1000):
        age(uri, seconds, host="other", pid=4_000_000, pid_space="elsewhere", token="earlier")
        if free:
            with OutputLock(Folder(uri)):
                assert holder(uri)["host"] != "other"
            assert files(uri) == []
        else:
            with pytest.raises(UsageError, match="process 4000000 on other"), OutputLock(Folder(uri)):
                pytest.fail("the holder was heard of 290 s ago")
            assert holder(uri)["host"] == "other"


@pytest.mark.parametrize("attempt", range(5))
def test_of_many_that_find_a_stale_lock_one_takes_over(uri: str, attempt: int) -> None:
    stale = {"token": f"stale{attempt}", "host": "other", "pid": 1, "born": "1", "pid_space": "elsewhere"}
    times = {"since": "2020-01-01T00:00:00Z", "heartbeat": "2020-01-01T00:00:00Z"}
    Folder(uri).write(NAME, json.dumps({**stale, **times}).encode())
    start, finish = threading.Barrier(8), threading.Barrier(8)
    outcome = []

    def contend() -> None:
        start.wait()
        try:
            with OutputLock(Folder(uri)):
                outcome.append("held")
                finish.wait()
        except UsageError:
            outcome.append("refused")
            finish.wait()

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome) == ["held"] + ["refused"] * 7
    assert files(uri) == []


def test_who_comes_late_to_a_stale_lock_finds_the_new_holder(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with OutputLock(Folder(uri), heartbeat_seconds=1000):
        age(uri, 1000, pid_space="elsewhere", token="first")
        faster = OutputLock(Folder(uri))
        create = Folder.create

        def overtaken(folder: Folder, name: str, data: bytes) -> bool:
            # Between the look at the stale lock and the claim to it, another run takes it over.
            if ".after-" in name:
                monkeypatch.setattr(Folder, "create", create)
                faster.__enter__()
            return create(folder, name, data)

        monkeypatch.setattr(Folder, "create", overtaken)
        with pytest.raises(UsageError, match="in use by process"), OutputLock(Folder(uri)):
            pytest.fail("two runs hold the folder")
        assert files(uri) == [NAME]
        faster.__exit__(None, None, None)
        assert files(uri) == []


def test_a_taker_that_died_while_taking_over_is_followed_too(uri: str) -> None:
    with OutputLock(Folder(uri), heartbeat_seconds=1000):
        age(uri, 1000, pid_space="elsewhere", token="first")
        claim = {**holder(uri), "token": "second"}
        Folder(uri).write(f"{NAME}.after-first", json.dumps(claim).encode())
        with OutputLock(Folder(uri)):
            assert holder(uri)["token"] not in ("first", "second")
        assert files(uri) == []


def test_the_heartbeat_renews_the_lock(uri: str) -> None:
    with OutputLock(Folder(uri), heartbeat_seconds=0.01) as mine:
        first = holder(uri)
        deadline = time.monotonic() + 10
        while holder(uri)["heartbeat"] == first["heartbeat"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert holder(uri)["since"] == first["since"]
        mine.check()


def lost(mine: OutputLock) -> str:
    """What the lock says once it finds itself lost."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            mine.check()
        except EngineError as error:
            return str(error)
        time.sleep(0.01)
    return "still held"


def test_a_lock_that_was_taken_over_is_noticed_and_not_touched(uri: str) -> None:
    with OutputLock(Folder(uri), heartbeat_seconds=0.2) as mine:
        Folder(uri).write(NAME, json.dumps({**holder(uri), "token": "other"}).encode())
        assert "another run has taken the folder over" in lost(mine)
    assert holder(uri)["token"] == "other"


def test_a_lock_that_cannot_be_renewed_is_lost_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Folder, name: str, data: bytes) -> None:
        raise EngineError("cannot write")

    with OutputLock(Folder(str(tmp_path)), heartbeat_seconds=0.01) as mine:
        monkeypatch.setattr(lock, "STALE_SECONDS", 0.1)
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "write", refuse)
            assert "could not be renewed for" in lost(mine)


def test_a_folder_that_cannot_be_looked_at_cannot_be_written(tmp_path: Path) -> None:
    held = OutputLock(Folder(str(tmp_path / ("a" * 300))))
    with pytest.raises(OutputError, match="^cannot write .*File name too long"), held:
        pass


def test_an_unreadable_lock_is_not_overruled(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("")
    with (
        pytest.raises(UsageError, match="cannot be read; if no other run is using the folder, delete that file"),
        OutputLock(Folder(str(tmp_path))),
    ):
        pytest.fail("nobody knows who holds this")
    assert files(str(tmp_path)) == [NAME]
