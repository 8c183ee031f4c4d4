from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PageError
from pipeline.pages.renderer import RenderChild
from pipeline.viewing.crops import MARKER, Box, boxes_of, cut_out, render_page, window
from tests.support.hostile import as_document
from tests.support.viewed import TOTAL_BOX, write_pdf

WIDTH, HEIGHT = 595.0, 842.0


def entry(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": 1.0}


def test_boxes_are_cut_to_the_page_and_what_is_none_is_left_out() -> None:
    found = boxes_of(
        [
            entry(-5, 10, 700, 20),
            entry(float("nan"), 0, 5, 5),
            entry(0, 0, float("inf"), 5),
            entry(5, 5, 5, 9),
            entry(9, 9, 2, 2),
            {**entry(0, 0, 1, 1), "x1": None},
            entry(2000, 2000, 3000, 3000),
        ],
        WIDTH,
        HEIGHT,
    )
    assert found == [Box(0, 10, WIDTH, 20)]
    assert boxes_of(None, WIDTH, HEIGHT) == []


sides = st.floats(min_value=0, max_value=1)


@given(st.lists(st.tuples(sides, sides, sides, sides), max_size=5), st.floats(1, 3000), st.floats(1, 3000))
def test_the_window_is_on_the_page_and_holds_the_best_box(
    shares: list[tuple[float, float, float, float]], width: float, height: float
) -> None:
    boxes = boxes_of([entry(a * width, b * height, c * width, d * height) for a, b, c, d in shares], width, height)
    shown = window(boxes, width, height)
    assert 0 <= shown.x0 < shown.x1 <= width
    assert 0 <= shown.y0 < shown.y1 <= height
    if boxes:
        best = boxes[0]
        assert shown.x0 <= best.x0
        assert shown.y0 <= best.y0
        assert shown.x1 >= best.x1
        assert shown.y1 >= best.y1
    else:
        assert shown == Box(0, 0, width, height)


def test_boxes_far_apart_are_not_shown_together() -> None:
    near, far = Box(100, 100, 160, 112), Box(400, 780, 500, 800)
    assert window([near, far], WIDTH, HEIGHT) == window([near], WIDTH, HEIGHT)
    beside = Box(170, 100, 190, 112)
    assert window([near, beside], WIDTH, HEIGHT).x1 >= beside.x1


@pytest.mark.parametrize("rotate", [0, 90])
def test_the_crop_shows_the_marked_evidence(tmp_path: Path, child: RenderChild, rotate: int) -> None:
    write_pdf(tmp_path / "a.pdf", rotate=rotate)
    box = TOTAL_BOX if rotate == 0 else entry(300 - 108, 200, 300 - 92, 290)
    page = render_page(child, as_document(tmp_path / "a.pdf"), 1, 144)
    assert (page.width_pt, page.height_pt) == ((400, 300) if rotate == 0 else (300, 400))
    boxes = boxes_of([box], page.width_pt, page.height_pt)
    picture = np.asarray(cut_out(page, boxes)).astype(int)
    shown = window(boxes, page.width_pt, page.height_pt)
    assert picture.shape[:2] == (round(2 * (shown.y1 - shown.y0)), round(2 * (shown.x1 - shown.x0)))
    inside = picture[round(2 * (boxes[0].y0 - shown.y0)) : round(2 * (boxes[0].y1 - shown.y0))]
    inside = inside[:, round(2 * (boxes[0].x0 - shown.x0)) : round(2 * (boxes[0].x1 - shown.x0))]
    paper = (np.abs(inside - MARKER).max(-1) < 8).mean()
    ink = (inside.max(-1) < 60).mean()
    assert paper > 0.6
    assert ink > 0.03  # the letters are still black
    outside = (np.abs(picture - MARKER).max(-1) < 8).sum() - (np.abs(inside - MARKER).max(-1) < 8).sum()
    assert outside == 0


def test_a_page_that_cannot_be_drawn_says_so(tmp_path: Path, child: RenderChild) -> None:
    (tmp_path / "a.pdf").write_bytes(b"text")
    with pytest.raises(PageError, match="UnsupportedDocument"):
        render_page(child, as_document(tmp_path / "a.pdf"), 1, 72)
    write_pdf(tmp_path / "b.pdf")
    with pytest.raises(PageError, match="NoSuchPage"):
        render_page(child, as_document(tmp_path / "b.pdf"), 9, 72)
