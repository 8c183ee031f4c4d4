"""Lets only one run at a time write to an output folder."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import EngineError, UsageError
from pipeline.output.folder import Folder
from pipeline.output.json_files import Moment

NAME = ".docpipe.lock"
STALE_SECONDS = 300.0
_log = logging.getLogger(__name__)


class Holder(BaseModel):
    """The process that holds an output folder.

    Attributes:
        token: random name of this holding.
        host: name of the machine.
        pid: id of the process.
        born: start of the process in clock ticks since boot; it differs if the pid was reused.
        pid_space: the scope in which the pid is unique; containers can share a host name, but not this.
        since: when it took the folder, in UTC.
        heartbeat: when it last renewed the lock, in UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Annotated[str, Field(pattern="^[0-9a-z-]{1,64}$")]  # part of the name of a file
    host: str
    pid: int
    born: str
    pid_space: str
    since: Moment
    heartbeat: Moment

    def is_gone(self, now: datetime) -> bool:
        """Tell whether the holder died: on its own machine whatever the clock says, elsewhere by long silence."""
        if self.pid_space == _pid_space():
            return not _is_alive(self.pid, self.born)
        return (now - self.heartbeat).total_seconds() > STALE_SECONDS


def read_holder(folder: Folder, name: str = NAME) -> Holder | None:
    """Tell who holds an output folder; ``None`` if nobody does.

    Args:
        folder: the output folder.
        name: name of the lock file in it.

    Raises:
        UsageError: the lock file is damaged.
        EngineError: the lock file cannot be read.
    """
    data = folder.read(name)
    if data is None:
        return None
    try:
        return Holder.model_validate_json(data)
    except ValidationError as error:
        raise UsageError(
            f"{folder.uri}/{name} cannot be read; if no other run is using the folder, delete that file"
        ) from error


class OutputLock:
    """Holds the lock of an output folder while its context is entered; a folder made for it alone goes with it.

    Args:
        folder: the output folder.
        heartbeat_seconds: seconds between two renewals of the lock.

    Raises:
        UsageError: another run holds the folder when the context is entered.
    """

    def __init__(self, folder: Folder, heartbeat_seconds: float = 30.0) -> None:
        self._folder = folder
        self._every = heartbeat_seconds
        self._stop = threading.Event()
        self._lost: str | None = None
        self._made: list[Path] = []
        self._thread = threading.Thread(target=self._beat, name="output-lock", daemon=True)
        now = datetime.now(UTC)
        pid = os.getpid()
        self._me = Holder(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            pid=pid,
            born=_state_and_birth(pid)[1],
            pid_space=_pid_space(),
            since=now,
            heartbeat=now,
        )

    def __enter__(self) -> Self:
        if self._folder.local:
            root = Path(self._folder.root)
            self._made = [path for path in (root, *root.parents) if not os.path.exists(path)]
        self._acquire(NAME)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        try:
            if self._is_mine():
                self._folder.delete(NAME)
                with suppress(OSError):  # as soon as one holds something
                    for path in self._made:
                        path.rmdir()
        except (EngineError, UsageError) as unreachable:
            # The next run sees that this process has ended; raising here would hide the error of the run.
            _log.warning("the lock could not be released: %s", unreachable)

    def check(self) -> None:
        """Refuse to continue once the lock is lost, such as after the machine was suspended.

        Raises:
            EngineError: the lock is lost, and another run may be writing to the folder.
        """
        if self._lost is not None:
            raise EngineError(f"{self._folder.uri}: {self._lost}; finished work is kept, run the same command again")

    def _acquire(self, name: str) -> None:
        """Create a lock file, or replace the file of a holder that is gone.

        The right to replace it is itself a lock, named after the token to be replaced. If several processes find the
        same stale file, one of them wins, and the others see later that the token has changed.

        Args:
            name: name of the lock file in the folder.

        Raises:
            UsageError: another run holds the lock.
        """
        while not self._folder.create(name, self._renewed()):
            holder = self._read(name)
            if holder is None:
                continue
            if holder.token == self._me.token:  # it was written although the answer said otherwise, as in a retry
                return
            if not holder.is_gone(datetime.now(UTC)):
                raise UsageError(
                    f"{self._folder.uri} is in use by process {holder.pid} on {holder.host} "
                    f"since {holder.since:%F %T} UTC; wait for that run, stop it, or choose another --output"
                )
            claim = f"{NAME}.after-{holder.token}"
            self._acquire(claim)
            try:
                current = self._read(name)
                if current is not None and current.token == holder.token:
                    self._folder.write(name, self._renewed())
                    return
            finally:
                self._folder.delete(claim)

    def _beat(self) -> None:
        renewed = time.monotonic()
        while not self._stop.wait(self._every):
            try:
                if not self._is_mine():
                    self._lost = "another run has taken the folder over"
                    return
                self._folder.write(NAME, self._renewed())
                renewed = time.monotonic()
            except (EngineError, UsageError) as error:
                _log.warning("the lock could not be renewed: %s", error)
                if time.monotonic() - renewed > STALE_SECONDS:
                    self._lost = f"the lock could not be renewed for {STALE_SECONDS:.0f} s"
                    return

    def _is_mine(self) -> bool:
        holder = self._read(NAME)
        return holder is not None and holder.token == self._me.token

    def _renewed(self) -> bytes:
        return self._me.model_copy(update={"heartbeat": datetime.now(UTC)}).model_dump_json().encode()

    def _read(self, name: str) -> Holder | None:
        return read_holder(self._folder, name)


def _is_alive(pid: int, born: str) -> bool:
    try:
        state, found = _state_and_birth(pid)
    except FileNotFoundError:
        return False
    return found == born and state not in "ZX"  # a zombie has ended, but its parent has not collected it


def _state_and_birth(pid: int) -> tuple[str, str]:
    """Read fields 3 and 22 of a process's stat line; field 2, the command, can hold spaces and brackets."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return fields[0], fields[19]


def _pid_space() -> str:
    """Name the boot and the pid namespace of this process; processes that share both see each other's pids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
