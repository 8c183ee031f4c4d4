"""The parent's side of ``pipeline.pages.render_child``: sends requests, and kills the child when it is late."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from pipeline.errors import EngineError

_START_SECONDS = 120.0  # imports from a cold disk on a busy machine
KILLED = f"signal {signal.SIGKILL.value}"
"""How a process ends that somebody else kills, such as the system when memory is short; a crash has another signal."""

_EXIT_SECONDS = 1.0  # time between closing its pipe and having an exit status


class ChildDied(Exception):
    """The process ended without an answer; the message says how it ended."""


class ChildProcess:
    """Starts a render child and talks to it; after a failed :meth:`ask` or a :meth:`kill`, start another.

    The child is tied to the thread that started it: the kernel kills it when that thread ends.

    Args:
        memory_bytes: limit of the child's address space.

    Attributes:
        not_confined: what the kernel did not let the child give up, and why; ``None`` where that is nothing.

    Raises:
        ChildDied: somebody killed the child while it started.
        EngineError: the child does not start.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._answers, theirs = os.pipe()
        self._buffer = bytearray()
        with tempfile.TemporaryFile() as complaints:
            try:
                # -P: the child must not import from the current folder, which may hold a json.py.
                # Standard output is discarded because MuPDF prints to it; answers have their own pipe.
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "pipeline.pages.render_child", str(theirs), str(memory_bytes)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    bufsize=0,
                    pass_fds=(theirs,),
                    # Every BLAS or OpenMP thread reserves address space that the limit would count.
                    env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                )
            except OSError as error:
                os.close(self._answers)
                raise EngineError(f"the renderer cannot be started: {error}") from error
            finally:
                os.close(theirs)
            try:
                began, _ = self._receive(time.monotonic() + _START_SECONDS)
                self.not_confined: str | None = began["not_confined"]
            except (ChildDied, TimeoutError) as error:
                if str(error) == KILLED:
                    raise
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip().splitlines()
                raise EngineError(
                    f"the renderer does not start within {memory_bytes >> 20} MiB of address space: "
                    f"{said[-1] if said else error or f'no sign of life in {_START_SECONDS:g} s'}"
                ) from error

    @property
    def pid(self) -> int:
        """Return the process id of the child."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bytes]:
        """Send a request (a few KB) and wait for the answer; without one, the process is killed.

        Args:
            request: request, of values that JSON can hold.
            seconds: time limit.

        Returns:
            Header and data of the answer.

        Raises:
            TimeoutError: no answer came within ``seconds``.
            ChildDied: the process ended, or its answer is malformed.
        """
        deadline = time.monotonic() + seconds
        if self._process.stdin is None:
            raise ChildDied("it was stopped")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError as error:
            raise ChildDied(self.kill(_EXIT_SECONDS)) from error
        return self._receive(deadline)

    def interrupt(self) -> None:
        """Kill the process from another thread than the one that asks it, which then gets :class:`ChildDied`."""
        self._process.kill()

    def kill(self, grace_s: float = 0.0) -> str:
        """Kill the process if it does not end within ``grace_s`` seconds, and return how it ended."""
        try:
            code = self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
            self._process.stdin = None
            os.close(self._answers)
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        done = False
        try:
            while b"\n" not in self._buffer:
                self._read(deadline)
            line, _, rest = self._buffer.partition(b"\n")
            self._buffer = rest
            header = json.loads(line)
            size = header.pop("bytes")
            while len(self._buffer) < size:
                self._read(deadline)
            data = bytes(self._buffer)
            self._buffer = bytearray()
            done = True
            return header, data
        except EOFError as error:
            raise ChildDied(self.kill(_EXIT_SECONDS)) from error
        except (ValueError, KeyError, AttributeError) as error:
            raise ChildDied(f"it did not keep to the protocol: {error}") from error
        finally:
            # Also after Ctrl-C: the rest of a half-read answer would be taken for the next answer.
            if not done:
                self.kill()

    def _read(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._answers], [], [], left)[0]:
            raise TimeoutError
        chunk = os.read(self._answers, 1 << 20)
        if not chunk:
            raise EOFError
        self._buffer += chunk
