"""What an answer's tokens and the glimpse tell, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.confidence.signals import signals_of

HALF, TENTH = math.log(0.5), math.log(0.1)


def test_of_the_tokens() -> None:
    found = signals_of([HALF, TENTH, HALF], [2.0, 0.25, 3.0])
    assert found.confidence_raw == pytest.approx((0.5 * 0.1 * 0.5) ** (1 / 3))
    assert math.log(found.confidence_raw) == pytest.approx(found.logprob_mean)
    assert (found.logprob_min, found.logprob_first, found.margin_min) == (TENTH, HALF, 0.25)
    assert (found.glimpse_mass, found.glimpse_spread) == (None, None)


@pytest.mark.parametrize(
    ("importance", "keep", "mass", "spread"),
    [
        ([0.9, 0.1, 0.1, 0.1], [1, 0, 0, 0], 0.75, -(0.75 * math.log(0.75) + 0.25 * math.log(0.25 / 3)) / math.log(4)),
        ([0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0], 0.5, 1.0),
        ([0.5, 0.0, 0.0, 0.0], [1, 1, 0, 0], 1.0, 0.0),
        ([0.3], [1], 1.0, 0.0),
    ],
    ids=["one region", "everywhere", "one token", "one token on the page"],
)
def test_of_the_glimpse(importance: list[float], keep: list[int], mass: float, spread: float) -> None:
    with np.errstate(divide="ignore"):
        scores = np.log(np.array(importance) / (1 - np.array(importance))).astype(np.float32)
    found = signals_of([HALF], [1.0], np.array(keep, bool), scores)
    assert found.glimpse_mass == pytest.approx(mass, abs=1e-6)
    assert found.glimpse_spread == pytest.approx(spread, abs=1e-6)


def test_the_spread_of_the_same_pattern_on_a_larger_page_is_the_same_if_all_of_it_grows() -> None:
    small = np.full(64, -20.0, np.float32)
    large = np.full(64**2, -20.0, np.float32)
    small[:8], large[: 8**2] = 3.0, 3.0  # a share of both in logarithms, which is what entropy counts in
    spreads = [signals_of([HALF], [1.0], scores > 0, scores).glimpse_spread for scores in (small, large)]
    assert spreads[0] == pytest.approx(0.5, abs=1e-3)
    assert spreads[1] == pytest.approx(0.5, abs=1e-3)


def test_no_token_of_any_importance_tells_nothing() -> None:
    found = signals_of([HALF], [1.0], np.array([True]), np.array([-np.inf], np.float32))
    assert (found.glimpse_mass, found.glimpse_spread) == (None, None)
