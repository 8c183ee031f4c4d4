"""One writer an output folder."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from types import TracebackType
from typing import Any

import psutil

from pipeline.errors import UsageError
from pipeline.folder import Folder

STALE_SECONDS = 300.0
_BEAT_SECONDS = 30.0
_NAME = ".docpipe.lock"


class OutputLock:
    """Held while a run writes to an output folder; a context manager.

    A lock whose holder died is taken over: at once if the process is gone from this machine, else when it has not been
    refreshed for ``STALE_SECONDS``.

    Raises:
        UsageError: on entering, naming who holds the lock.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = time.time()

    def __enter__(self) -> OutputLock:
        if not self.folder.create(_NAME, self._content()):
            holder = self._holder()
            if holder is not None and not _dead(holder):
                since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["started"]))
                raise UsageError(
                    f"{self.folder.uri} is being written by process {holder['pid']} on {holder['host']} since {since}; "
                    "wait for it, or choose another --output"
                )
            self.folder.delete(_NAME)
            if not self.folder.create(_NAME, self._content()):
                raise UsageError(f"{self.folder.uri} was taken by another run a moment ago; try again")
        self._thread = threading.Thread(target=self._beat, name="docpipe-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.folder.delete(_NAME)

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT_SECONDS):
            self.folder.write(_NAME, self._content())

    def _content(self) -> bytes:
        me = psutil.Process()
        fields = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "born": me.create_time(),
            "started": self._started,
            "beat": time.time(),
        }
        return json.dumps(fields).encode()

    def _holder(self) -> dict[str, Any] | None:
        raw = self.folder.read(_NAME)
        try:
            return None if raw is None else dict(json.loads(raw))
        except ValueError:  # half a lock: its writer died in the act
            return None


def _dead(holder: dict[str, Any]) -> bool:
    if time.time() - holder["beat"] > STALE_SECONDS:
        return True
    if holder["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(holder["pid"]).create_time() - float(holder["born"])) > 1.0
    except psutil.NoSuchProcess:
        return True
