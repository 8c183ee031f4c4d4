"""What counts as paper."""

from __future__ import annotations

import numpy as np

from pipeline.blank import inked_cells, visible_cells


def _page() -> np.ndarray:
    page = np.full((28 * 7, 28 * 8, 3), 250, np.uint8)
    page[28 * 4 + 10 : 28 * 4 + 14, 28 * 4 + 3] = 0  # a stroke inside one cell
    page[:28, 28 * 7 :] = 40  # a dark cell of one colour: no ink either
    return page


def test_ink_is_more_than_one_colour() -> None:
    assert np.argwhere(inked_cells(_page(), 28)).tolist() == [[4, 4]]


def test_noise_of_a_scan_is_no_ink() -> None:
    page = np.random.default_rng(0).integers(240, 252, (56, 56, 3)).astype(np.uint8)
    assert not inked_cells(page, 28).any()


def test_one_channel_is_enough() -> None:
    page = np.full((28, 56, 3), 200, np.uint8)
    page[5, 40, 2] = 100
    assert inked_cells(page, 28).tolist() == [[False, True]]


def test_visible_are_ink_its_neighbours_in_the_row_and_anchors() -> None:
    visible = visible_cells(_page(), 28).reshape(7, 8)
    anchors = np.zeros((7, 8), bool)
    anchors[::3, ::3] = True
    row = np.argwhere(visible & ~anchors).tolist()
    assert row == [[4, 3], [4, 4], [4, 5]]
    assert visible[anchors].all()
