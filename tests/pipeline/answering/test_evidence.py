from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.answering.evidence import evidence_boxes
from pipeline.records import Evidence

GRID = """
#.#..
#....
....#
...#.
"""


def grid(text: str) -> tuple[npt.NDArray[np.bool_], int, int]:
    lines = text.split()
    return np.array([char == "#" for line in lines for char in line]), len(lines), len(lines[0])


def test_touching_tokens_are_one_box_in_points_best_first() -> None:
    keep, rows, columns = grid(GRID)
    scores = np.arange(20, dtype=np.float32)
    assert evidence_boxes(keep, scores, rows, columns, width_pt=500, height_pt=800) == (
        Evidence(300.0, 400.0, 500.0, 800.0, 18.0),  # corners touch
        Evidence(0.0, 0.0, 100.0, 400.0, 5.0),
        Evidence(200.0, 0.0, 300.0, 200.0, 2.0),
    )


def test_only_kept_tokens_give_the_score() -> None:
    keep, rows, columns = grid("#.")
    assert evidence_boxes(keep, np.array([-3.0, 9.0], np.float32), rows, columns, 10, 10) == (
        Evidence(0.0, 0.0, 5.0, 10.0, -3.0),
    )


def test_what_was_kept_for_other_reasons_than_its_score_is_no_evidence() -> None:
    keep, rows, columns = grid("##.#.\n.....\n#....")
    scores = np.array([-2, 3, 9, 0.5, 9, *[9] * 5, -1, 9, 9, 9, 9], np.float32)
    found = [box.score for box in evidence_boxes(keep, scores, rows, columns, 5, 3, least=0.0)]
    assert found == [3.0, 0.5]
    assert [box.score for box in evidence_boxes(keep, scores, rows, columns, 5, 3, least=4.0)] == [3.0]


def test_the_limit_keeps_the_best_and_equals_are_taken_from_the_top_left() -> None:
    keep, rows, columns = grid("#.#.#\n.....\n#.#.#")
    scores = np.zeros(15, np.float32)
    scores[14] = 1
    boxes = evidence_boxes(keep, scores, rows, columns, 5, 3, limit=3)
    assert [(box.x0, box.y0, box.score) for box in boxes] == [(4, 2, 1), (0, 0, 0), (2, 0, 0)]
    assert len(evidence_boxes(keep, scores, rows, columns, 5, 3)) == 5


def test_nothing_kept_is_no_box_and_everything_kept_is_the_page() -> None:
    scores = np.ones(6, np.float32)
    assert evidence_boxes(np.zeros(6, bool), scores, 2, 3, 30, 20) == ()
    assert evidence_boxes(np.ones(6, bool), scores, 2, 3, 595.3, 841.9) == (Evidence(0.0, 0.0, 595.3, 841.9, 1.0),)


def test_boxes_stay_on_the_page_and_are_plain_numbers() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows, columns = (int(n) for n in rng.integers(1, 40, 2))
        keep = rng.random(rows * columns) < 0.3
        width, height = (float(x) for x in rng.uniform(1, 2000, 2))
        for box in evidence_boxes(
            keep, rng.normal(size=rows * columns).astype(np.float32), rows, columns, width, height
        ):
            assert 0 <= box.x0 < box.x1 <= width
            assert 0 <= box.y0 < box.y1 <= height
            assert {type(value) for value in (box.x0, box.y0, box.x1, box.y1, box.score)} == {float}


@pytest.mark.parametrize(("keep", "scores"), [(5, 6), (6, 5), (7, 7)])
def test_a_grid_of_another_size_is_refused(keep: int, scores: int) -> None:
    with pytest.raises(ValueError, match="expected 2 x 3 = 6 tokens"):
        evidence_boxes(np.ones(keep, bool), np.ones(scores, np.float32), 2, 3, 1, 1)
