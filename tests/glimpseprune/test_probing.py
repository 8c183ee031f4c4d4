"""Functions are timed in turns, and what takes long is timed less often."""

from __future__ import annotations

import time

import pytest
import torch

from glimpseprune import probing
from glimpseprune.probing import fastest_s

CPU = torch.device("cpu")


def test_the_fastest_round_counts_and_the_first_does_not() -> None:
    waits, said = iter([0.2, 0.0, 0.05, 0.0, 0.02, 0.0, 0.05, 0.0]), []
    slow, quick = fastest_s(CPU, lambda: said.append("slow") or time.sleep(next(waits)),
                            lambda: said.append("quick") or time.sleep(next(waits)), rounds=3)  # fmt: skip
    assert said == ["slow", "quick"] * 4
    assert 0.02 <= slow < 0.045
    assert quick < 0.02


def test_what_takes_long_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_LONGEST_MS", 1.0)
    said: list[int] = []
    fastest_s(CPU, lambda: said.append(1) or time.sleep(0.01))
    assert len(said) == 2
