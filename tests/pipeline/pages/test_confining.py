"""What a renderer can no longer do, as root and as anybody else, and what it says where the kernel refuses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.pages.child_process import ChildProcess

TRY = """
import ctypes, encodings.idna, json, os, socket, sys
from pipeline.pages.confining import confine, limit_resources
folder, user = sys.argv[1], int(sys.argv[2])
if user:
    os.setgroups([]); os.setgid(user); os.setuid(user)
refused = confine()
limit_resources(1 << 30)
libc = ctypes.CDLL(None)
def tried(do):
    try:
        do()
    except OSError as error:
        return error.strerror
    return None
def connect():
    socket.create_connection(("127.0.0.1", int(sys.argv[3])), 5).close()
def flood():
    with open("/dev/zero", "rb") as zero:
        os.pwrite(os.memfd_create("flood"), zero.read(1), 1 << 31)
def open_many():
    held = []
    while len(held) < 100:
        held.append(open("/dev/null"))
print(json.dumps({
    "refused": refused,
    "privileges": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm"))],
    "read": tried(lambda: open(f"{folder}/there").read()),
    "write": tried(lambda: open(f"{folder}/new", "w")),
    "overwrite": tried(lambda: open(f"{folder}/there", "w")),
    "delete": tried(lambda: os.unlink(f"{folder}/there")),
    "connect": tried(connect),
    "remount": libc.mount(b"none", b"/", None, 0x1020, None) != 0,
    "new users may": libc.unshare(0x10020000) == 0 and libc.mount(b"none", b"/", None, 0x1020, None) == 0,
    "flood": tried(flood),
    "many": tried(open_many),
}))
"""
WITHOUT_SYS_ADMIN = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 21, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, or give up a capability")


def tried(folder: Path, user: int, port: int, *before: str) -> dict[str, Any]:
    command = [*before, sys.executable, "-c", TRY, str(folder), str(user), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "there").write_text("sound")
    for each in (tmp_path, *tmp_path.parents[:-1]):
        if each.stat().st_uid == os.geteuid() and each != Path("/tmp"):
            each.chmod(0o777)
    (tmp_path / "there").chmod(0o666)
    return tmp_path


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("user", [0, pytest.param(65_000, marks=as_root)])
def test_the_network_is_gone_and_nothing_can_be_written(folder: Path, port: int, user: int) -> None:
    found = tried(folder, user, port)
    if found["refused"] is not None:
        pytest.skip(f"this kernel refuses {found['refused']}")
    read_only = "Read-only file system"
    kept = "0000000000000004" if user == os.geteuid() == 0 else "0000000000000000"
    assert found == {
        "refused": None,
        "read": None,
        "write": read_only,
        "overwrite": read_only,
        "delete": read_only,
        "connect": "Network is unreachable",
        "remount": True,
        "new users may": False,
        "flood": "File too large",
        "many": "Too many open files",
        "privileges": [kept, kept],
    }
    assert (folder / "there").read_text() == "sound"
    assert not (folder / "new").exists()


@as_root
def test_a_kernel_that_refuses_is_told(folder: Path, port: int) -> None:
    """As in a container without the right to make namespaces: the limits still hold."""
    found = tried(folder, 0, port, sys.executable, "-c", WITHOUT_SYS_ADMIN)
    assert found["refused"] == "network and write access: Operation not permitted"
    assert (found["flood"], found["many"]) == ("File too large", "Too many open files")
    assert found["privileges"] == ["0000000000000004"] * 2


def test_the_render_child_is_confined() -> None:
    child = ChildProcess(1 << 30)
    try:
        if child.not_confined is not None:
            pytest.skip(f"this kernel refuses {child.not_confined}")
        for space in ("net", "mnt"):
            assert os.readlink(f"/proc/{child.pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}")
        mounts = Path(f"/proc/{child.pid}/mountinfo").read_text().splitlines()
        assert {line.split()[5].split(",")[0] for line in mounts} == {"ro"}
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
    finally:
        child.kill()
