"""Times small pieces of work on the machine at hand, to choose between ways of computing."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from glimpseprune.stats import now_ms

_LONGEST_MS = 1000.0


def fastest_s(device: torch.device, *runs: Callable[[], object], rounds: int = 6) -> list[float]:
    """Time functions in turns, and return the seconds of the fastest round of each.

    Turns, since other programs come and go. After a round that warms up there are several, fewer of what takes long.

    Args:
        device: device on which they compute.
        *runs: functions to time.
        rounds: most rounds after the one that warms up.
    """
    best = [math.inf] * len(runs)
    for run in runs:
        run()
    began = now_ms(device)
    for _ in range(rounds):
        for number, run in enumerate(runs):
            start = now_ms(device)
            run()
            best[number] = min(best[number], now_ms(device) - start)
        if now_ms(device) - began > _LONGEST_MS:
            break
    return [ms / 1e3 for ms in best]
