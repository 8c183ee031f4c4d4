"""A process that answers requests until it is late or dies: the parent's side of ``pipeline.pages.render_child``."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from typing import Any

from pipeline.errors import EngineError

_START_SECONDS = 120.0  # imports from a cold disk on a busy machine
_EXIT_SECONDS = 1.0  # between a process closing its pipe and its exit status


class ChildDied(Exception):
    """The process ended without an answer; the message says how."""


class ChildProcess:
    """A started child. Once :meth:`ask` has failed or :meth:`kill` was called it is gone; start another.

    It is tied to the thread that started it: the kernel kills it when that thread ends.

    Args:
        memory_bytes: limit of its address space.

    Raises:
        EngineError: it does not start.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._answers, theirs = os.pipe()
        self._buffer = bytearray()
        with tempfile.TemporaryFile() as complaints:
            try:
                # -P: a folder that happens to hold a json.py must not be where the child imports from.
                # Standard output leads nowhere, because MuPDF prints to it; answers have a pipe of their own.
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
                self._receive(time.monotonic() + _START_SECONDS)
            except (ChildDied, TimeoutError) as error:
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip().splitlines()
                raise EngineError(
                    f"the renderer does not start within {memory_bytes >> 20} MiB of address space: "
                    f"{said[-1] if said else error or f'no sign of life in {_START_SECONDS:g} s'}"
                ) from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bytes]:
        """Send a request (a few KB) and wait for its answer; the process is killed if there is none.

        Args:
            request: the request, as JSON.
            seconds: time limit in seconds.

        Returns:
            The header of the answer, and its data.

        Raises:
            TimeoutError: no answer within ``seconds``.
            ChildDied: it ended, or answered with something else.
        """
        deadline = time.monotonic() + seconds
        if self._process.stdin is None:
            raise ChildDied("it was stopped")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError as error:
            raise ChildDied(self.kill(_EXIT_SECONDS)) from error
        return self._receive(deadline)

    def kill(self, grace_s: float = 0.0) -> str:
        """End it, if it does not end by itself within ``grace_s``, and say how it ended."""
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
            # Also after Ctrl-C: what is left of a half-read answer would be taken for the next one.
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
