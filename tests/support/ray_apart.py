"""Programs with a Ray of their own, in a process of their own, beside the Ray that the tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

_SECONDS = 110


def run_apart(module: str, *arguments: str, **environment: str) -> str:
    """Run ``main`` of a module as a program, and return what it prints; whatever it started ends with it."""
    call = f"from {module} import main; main()"  # and not -m, since workers import the module, too
    process = subprocess.Popen(
        [sys.executable, "-c", call, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "RAY_worker_niceness": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", **environment},
    )
    try:
        said, errors = process.communicate(timeout=_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)  # its Ray, which shares the session
    if process.returncode:
        raise AssertionError(f"{module} ended with {process.returncode}:\n{errors[-4000:]}")
    return said
