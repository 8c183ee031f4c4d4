from __future__ import annotations

import pytest

from pipeline.datasets.example import Region
from pipeline.evaluation.pointing import overlap, points_at
from pipeline.records import Evidence

PLACE = Region(0.2, 0.2, 0.4, 0.3)


def box(x0: float, y0: float, x1: float, y1: float) -> Evidence:
    return Evidence(x0, y0, x1, y1, 1.0)


@pytest.mark.parametrize(
    ("evidence", "pointed", "iou"),
    [
        ([box(0.2, 0.2, 0.4, 0.3)], True, 1.0),
        ([box(0.1, 0.2, 0.5, 0.3)], True, 0.5),
        ([box(0.2, 0.2, 0.4, 0.5)], False, 1 / 3),
        ([box(0.6, 0.6, 0.7, 0.7), box(0.2, 0.2, 0.4, 0.3)], False, 0.0),
        ([], False, 0.0),
    ],
)
def test_of_the_best_box(evidence: list[Evidence], pointed: bool, iou: float) -> None:
    assert points_at(evidence, [PLACE]) == pointed
    assert overlap(evidence, [PLACE]) == pytest.approx(iou)


def test_any_of_the_places_will_do() -> None:
    there = [box(0.2, 0.2, 0.4, 0.3)]
    assert points_at(there, [Region(0.8, 0.8, 0.9, 0.9), PLACE])
    assert overlap(there, [Region(0.8, 0.8, 0.9, 0.9), PLACE]) == pytest.approx(1.0)
