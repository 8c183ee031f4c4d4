"""A contender's side of the benchmark: one round per line on standard input, one line of JSON for each.

It is imported in docpipe's environment and in the peers', so it uses nothing of either.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_work(folder: Path) -> dict[str, Any]:
    """What is asked of which pages; see ``work.py``."""
    work: dict[str, Any] = json.loads((folder / "work.json").read_text())
    return work


def quiet_output() -> Any:
    """The pipe to the driver. What libraries print goes to standard error from here on."""
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return pipe


def serve(pipe: Any, ready: dict[str, Any], one_round: Callable[[int], list[Any]]) -> None:
    """Say that the contender is loaded and warm, then run a round whenever the driver asks for one."""
    _say(pipe, ready)
    for line in sys.stdin:
        cpu, start = cpu_seconds(), time.perf_counter()
        answers = one_round(int(line))
        seconds = time.perf_counter() - start
        _say(pipe, {"seconds": seconds, "cpu": cpu_seconds() - cpu, "peak_bytes": peak_bytes(), "answers": answers})


def _say(pipe: Any, message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message) + "\n")
    pipe.flush()


def _processes() -> list[int]:
    """This process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [os.getpid()]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def cpu_seconds() -> float:
    """CPU seconds that this process and its descendants have used."""
    ticks = 0
    for pid in _processes():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_bytes() -> int:
    """Peak resident memory of this process and its descendants, summed."""
    total = 0
    for pid in _processes():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return total
