"""Draws odd inputs for minutes: is there one that ends in a traceback?

    python benchmarks/fuzz.py --minutes 10              # each target of tests/support/fuzzed.py
    python benchmarks/fuzz.py --minutes 1 --only schema --seed 7

Prints how many inputs each target got, and the smallest input of every failure; the exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.fuzzed import TARGETS, Target

_AT_ONCE = 500  # inputs between two looks at the clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", choices=sorted(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    failed = False
    for name, target in TARGETS.items():
        if asked.only in (None, name):
            failed |= fuzz(name, target, 60 * asked.minutes, asked.seed)
    sys.exit(failed)


def fuzz(name: str, target: Target, seconds: float, first_seed: int) -> bool:
    """Draw inputs until the time is over or one fails; tell whether one did."""
    drawn, number, began = 0, first_seed, time.monotonic()
    failure = None
    while failure is None and time.monotonic() - began < seconds:
        count, failure = rounds(target, number)
        drawn, number = drawn + count, number + 1
    print(f"{name}: {drawn} inputs in {time.monotonic() - began:.0f} s, {'FAILED' if failure else 'no traceback'}")
    if failure:
        print(f"seed {number - 1}:\n{failure}")
    return failure is not None


def rounds(target: Callable[[st.DataObject], None], number: int) -> tuple[int, str | None]:
    """Draw some inputs; the traceback of the smallest that fails, if one does."""
    drawn = 0

    @seed(number)
    @given(data=st.data())
    @settings(
        max_examples=_AT_ONCE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.target, Phase.shrink),
    )
    def draw(data: st.DataObject) -> None:
        nonlocal drawn
        drawn += 1
        target(data)

    try:
        draw()
    except Exception:  # noqa: BLE001 - whatever comes out is what is looked for
        return drawn, traceback.format_exc()
    return drawn, None


if __name__ == "__main__":
    main()
