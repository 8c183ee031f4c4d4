"""Makes temporary folders, and deletes those that killed processes have left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path

_PREFIX = "docpipe-"
_OWNED = ".owned"  # which is locked for as long as the process that made the folder lives


class TemporaryFolder:
    """A folder where ``TMPDIR`` says, which is deleted when it is told to or collected.

    The first one of a process deletes the folders of processes on this machine that were killed.

    Raises:
        OSError: there is no room for it.
    """

    def __init__(self) -> None:
        _sweep(tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = os.open(self.path / "owner", os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(self.path / "owner", self.path / _OWNED)  # another process may only find it locked
        self.delete = weakref.finalize(self, _delete, self.path, lock)
        """Function that deletes the folder; the second time it does nothing."""

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.delete()


def _delete(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


@cache
def _sweep(parent: str) -> None:
    """Delete the folders whose processes are gone; those of other users stay."""
    for mark in Path(parent).glob(f"{_PREFIX}*/{_OWNED}"):
        with suppress(OSError), mark.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(mark.parent, ignore_errors=True)
