from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.answering.evidence import Importance, attention_boxes
from pipeline.pages.ink import Ink
from pipeline.pages.renderer import decode_image
from tests.support.page_words import page_of

GRID = """
#.#..
#....
....#
...#.
"""


def grid(text: str) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
    lines = text.split()
    return np.array([char == "#" for line in lines for char in line]), (len(lines), len(lines[0]))


def importance(text: str, scores: npt.NDArray[np.float32], size: tuple[float, float]) -> Importance:
    keep, shape = grid(text)
    return Importance(keep, scores, shape, size)


def test_touching_tokens_are_one_region_in_points_best_first() -> None:
    found = importance(GRID, np.arange(20, dtype=np.float32), (500, 800)).regions(-math.inf)
    assert found == [
        ((300.0, 400.0, 500.0, 800.0), 18.0),  # corners touch
        ((0.0, 0.0, 100.0, 400.0), 5.0),
        ((200.0, 0.0, 300.0, 200.0), 2.0),
    ]


def test_only_kept_tokens_give_the_score() -> None:
    assert importance("#.", np.array([-3.0, 9.0], np.float32), (10, 10)).regions(-9) == [((0.0, 0.0, 5.0, 10.0), -3.0)]


def test_what_was_kept_for_other_reasons_than_its_score_is_no_evidence() -> None:
    scores = np.array([-2, 3, 9, 0.5, 9, *[9] * 5, -1, 9, 9, 9, 9], np.float32)
    seen = importance("##.#.\n.....\n#....", scores, (5, 3))
    assert seen.regions(0.0) == [((1.0, 0.0, 2.0, 1.0), 3.0), ((3.0, 0.0, 4.0, 1.0), 0.5)]
    assert seen.regions(4.0) == [((1.0, 0.0, 2.0, 1.0), 3.0)]  # none passes, so the best one


def test_nothing_kept_is_no_region_and_everything_kept_is_the_page() -> None:
    scores = np.ones(6, np.float32)
    assert importance("...\n...", scores, (30, 20)).regions(0.0) == []
    assert importance("###\n###", scores, (595.3, 841.9)).regions(0.0) == [((0.0, 0.0, 595.3, 841.9), 1.0)]


def test_sides_never_leave_the_page() -> None:
    for columns in range(1, 60):
        ((box, _),) = importance("#" * columns, np.ones(columns, np.float32), (595.276, 841.89)).regions(0.0)
        assert (box[2], box[3]) == (595.276, 841.89)


@pytest.mark.parametrize(("keep", "scores"), [(5, 6), (6, 5), (7, 7)])
def test_every_token_of_the_grid_needs_an_entry(keep: int, scores: int) -> None:
    with pytest.raises(ValueError, match="expected 2 x 3 tokens, found keep"):
        Importance(np.ones(keep, bool), np.ones(scores, np.float32), (2, 3), (1, 1))


def test_importance_under_a_box_is_weighed_by_how_much_of_each_token_it_covers() -> None:
    seen = importance("##\n##", np.array([1, 2, 3, -np.inf], np.float32), (20, 20))
    assert seen.under((0, 0, 10, 10)) == (1.0, 1.0)
    assert seen.under((0, 0, 20, 10)) == (1.5, 2.0)
    assert seen.under((5, 0, 15, 20)) == (pytest.approx(1.75), 3.0)  # what has no score counts as the least
    assert seen.under((20, 20, 30, 30)) == (1.0, 1.0)  # beyond the page is its edge


def boxes_at(text: str, *cells: tuple[int, int]) -> list[tuple[float, ...]]:
    """The boxes where the model looked at tokens of 14 x 14 points on a page of 280 x 140."""
    page = page_of(text)
    scores = np.full((10, 20), -5.0, np.float32)
    for cell in cells:
        scores[cell] = 5.0
    seen = Importance(scores.ravel() > 0, scores.ravel(), (10, 20), (280.0, 140.0))
    found = attention_boxes(seen, Ink(decode_image(page), 280.0, 140.0), 0.0)
    return [(box.x0, box.y0, box.x1, box.y1) for box in found]


def test_a_box_fits_the_words_that_the_model_looked_at() -> None:
    assert boxes_at("Total: 75.00 EUR\nsent", (0, 3), (0, 4), (0, 5)) == [pytest.approx((43, 0, 86, 10), abs=1)]
    assert boxes_at("Total: 75.00 EUR\nsent", (1, 1), (1, 2)) == [pytest.approx((10, 20, 30, 30), abs=1)]


def test_a_second_place_is_shown_if_the_model_looked_at_it_as_much() -> None:
    assert len(boxes_at("Total:  75.00  EUR", (0, 1), (0, 5))) == 2


def test_a_place_without_print_keeps_its_tokens() -> None:
    assert boxes_at("Total: 75.00 EUR", (5, 10)) == [pytest.approx((140, 70, 154, 84))]
