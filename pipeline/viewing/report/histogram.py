"""Counts measurements into the bars of a chart, and sums them up in a sentence for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

_BARS = 24
_HIGHEST_SHOWN = 99.5  # percentile; the few above it are counted in the last bar


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars of a chart.

    Attributes:
        title: what was measured.
        counts: number of measurements of each bar.
        ends: lower end of the first and upper end of the last bar, in words.
        sentence: median and spread, in words.
    """

    title: str
    counts: tuple[int, ...]
    ends: tuple[str, str]
    sentence: str


def histogram(
    title: str, column: pa.ChunkedArray, words: Callable[[float], str], top: float | None = None
) -> Histogram | None:
    """Count a column; ``None`` if nothing was measured.

    Args:
        title: what was measured.
        column: numbers, and nulls where nothing was measured.
        words: function that writes a number with its unit.
        top: upper end of the last bar; ``None`` finds one.
    """
    values = np.asarray(column.drop_null().to_numpy(), dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    high = float(np.percentile(values, _HIGHEST_SHOWN)) if top is None else top
    low = 0.0 if values.min() >= 0 else float(values.min())
    high = high if high > low else low + 1.0
    counts, _ = np.histogram(np.clip(values, low, high), _BARS, (low, high))
    median, ninth = (float(np.percentile(values, share)) for share in (50, 90))
    sentence = (
        f"Half are at most {words(median)}, nine in ten at most {words(ninth)}, the most is {words(values.max())}."
    )
    return Histogram(title, tuple(map(int, counts)), (words(low), words(high)), sentence)


def percent(share: float) -> str:
    """Write a share in 0..1."""
    return f"{100 * share:.1f} %"


def size(count: float) -> str:
    """Write a number of bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """Write a time."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
