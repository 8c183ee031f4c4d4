"""Finds what is drawn on a page, from its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.records import Image

_FLAT = 12  # of 255; neighbours that differ by no more count as one colour
_MIDDLE = 0.15  # of the height of a box at its top and bottom, into which letters of other lines may reach
_DRAWN = 40  # of 255; by which letters differ from the paper around them, at least
_RULE = 0.9  # of the length of a box; what runs that far is a line or a frame, and no letter
_BLANK = 0.22  # of the height of a line; a wider gap is a blank between two words
_FEWEST_PX = 3  # height of a line of print

Box = tuple[float, float, float, float]
"""``x0, y0, x1, y1`` in points, from the top left of the page."""


class Ink:
    """Knows where the colour of a page changes from left to right, as it does in every letter.

    Lines across the page do not count, as they cross boxes without being text.

    Args:
        page: pixels, uint8 ``[height, width, 3]``.
        width_pt: width of the page in points.
        height_pt: height of the page in points.
    """

    def __init__(self, page: Image, width_pt: float, height_pt: float) -> None:
        height, width = page.shape[:2]
        self._page = page
        self._across, self._down = width / width_pt, height / height_pt
        flat = page.reshape(height, 3 * width)
        left, right = flat[:, :-3], flat[:, 3:]
        self._edges: npt.NDArray[np.bool_] = np.maximum(left, right) - np.minimum(left, right) > _FLAT

    def under(self, box: Sequence[float]) -> bool:
        """Tell whether anything is drawn in the middle of a box ``x0, y0, x1, y1`` in points."""
        margin = _MIDDLE * (box[3] - box[1])
        x0, y0, x1, y1 = self._pixels((box[0], box[1] + margin, box[2], box[3] - margin))
        return bool(self._edges[y0:y1, 3 * x0 : 3 * max(x1 - 1, x0 + 1)].any())

    def covered(self, box: Sequence[float], covers: npt.NDArray[np.float64]) -> float:
        """Tell which share of what is drawn in a box lies under other boxes; 1 where nothing is drawn.

        Args:
            box: ``x0, y0, x1, y1`` in points.
            covers: the other boxes, ``[N, 4]`` in points.
        """
        x0, y0, x1, y1 = self._pixels(box)
        drawn = self._edges[y0:y1, 3 * x0 : 3 * max(x1 - 1, x0 + 1)]
        left = drawn.copy()
        meets = (covers[:, :2] < [box[2], box[3]]).all(1) & (covers[:, 2:] > [box[0], box[1]]).all(1)
        for cover in covers[meets].tolist():
            a, b, c, d = self._pixels(cover)
            left[max(b - y0, 0) : max(d - y0, 0), 3 * max(a - x0, 0) : 3 * max(c - x0, 0)] = False
        return 1.0 - float(left.sum()) / max(int(drawn.sum()), 1)

    def words_in(self, box: Sequence[float]) -> Iterator[list[Box]]:
        """Yield the words of each line of print in a box, from the top: what stands together without a blank."""
        x0, y0, x1, y1 = self._pixels(box)
        drawn = _drawn(self._page[y0:y1, x0:x1])
        for top, bottom in _runs(np.flatnonzero(drawn.any(1)), 1):
            if bottom - top < _FEWEST_PX:
                continue
            widest = max(1, round(_BLANK * (bottom - top)))
            words = _runs(np.flatnonzero(drawn[top:bottom].any(0)), widest)
            yield [self._points(x0 + left, y0 + top, x0 + right, y0 + bottom) for left, right in words]

    def _pixels(self, box: Sequence[float]) -> tuple[int, int, int, int]:
        """Turn a box into pixels, at least one each way."""
        x0, x1 = int(box[0] * self._across), int(np.ceil(box[2] * self._across))
        y0, y1 = int(box[1] * self._down), int(np.ceil(box[3] * self._down))
        return max(x0, 0), max(y0, 0), max(x1, x0 + 1), max(y1, y0 + 1)

    def _points(self, x0: int, y0: int, x1: int, y1: int) -> Box:
        return x0 / self._across, y0 / self._down, x1 / self._across, y1 / self._down


def _drawn(part: Image) -> npt.NDArray[np.bool_]:
    """Find the pixels of a part of a page that differ from its paper, without lines and frames, bool ``[H, W]``."""
    paper = np.median(part.reshape(-1, 3), axis=0)
    drawn: npt.NDArray[np.bool_] = np.abs(part - paper).max(-1) > _DRAWN
    rules = drawn.mean(1) > _RULE, drawn.mean(0) > _RULE
    drawn[rules[0]] = False
    drawn[:, rules[1]] = False
    return drawn


def _runs(places: npt.NDArray[np.intp], gap: int) -> list[tuple[int, int]]:
    """Return start and end of each run of places, which are in order; gaps of up to ``gap`` do not end one."""
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > gap + 1)
    starts, ends = np.r_[places[0], places[breaks + 1]], np.r_[places[breaks], places[-1]] + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
