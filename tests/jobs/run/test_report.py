from __future__ import annotations

import pytest

from jobs.run.report import Outcome, model_busy_share
from pipeline.records import Receipt


def receipt(began_at_s: float, ended_at_s: float, model_ms: float) -> Receipt:
    busy_ms = (ended_at_s - began_at_s) * 1e3
    return Receipt("b", 1, busy_ms, model_ms, began_at_s, ended_at_s)


def test_the_share_is_over_the_time_from_the_first_bundle_to_the_last() -> None:
    outcome = Outcome()
    for one in (receipt(1010.0, 1020.0, 9_000), receipt(1000.0, 1008.0, 4_000), receipt(1012.0, 1015.0, 3_000)):
        outcome.add(one)
    assert (outcome.model_s, outcome.began_at_s, outcome.ended_at_s) == (16.0, 1000.0, 1020.0)
    assert model_busy_share(outcome.model_s, outcome.began_at_s, outcome.ended_at_s, actors=2) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("model_s", "began_at_s", "ended_at_s", "actors", "share"),
    [
        (0.0, None, None, 0, None),  # nothing was left to do
        (0.0, 5.0, 6.0, 1, None),  # every page failed before the model saw it
        (1.0, 5.0, 4.0, 1, None),  # clocks of two machines
        (3.0, 5.0, 7.0, 1, 1.0),
        (3.0, 5.0, 7.0, 2, 0.75),
    ],
)
def test_the_share_is_told_where_it_is_known(
    model_s: float, began_at_s: float | None, ended_at_s: float | None, actors: int, share: float | None
) -> None:
    assert model_busy_share(model_s, began_at_s, ended_at_s, actors) == share
