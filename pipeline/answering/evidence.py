"""Finds where on the page the model looked for an answer: what is printed where the glimpse gave its best scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.frame import WHOLE_PAGE, Frame
from pipeline.pages.ink import Box, Ink
from pipeline.records import Evidence

CLOSE = 2.0
"""Logits by which a second place may be worse than the best."""

# Chosen on drawn documents of other seeds than those of docs/quality.md.
_ACROSS, _DOWN = 1.0, 0.5  # tokens, by which letters may reach beyond those that hold most of them
_SPREAD = 5.0  # logits by which words of one answer may differ
_UNSEEN = -2.0  # mean logit of words below which the model did not look at them
_MARK, _MARK_LOSS = 0.4, 4.0  # width, in heights, below which a word is only a mark, and how much less it matters
_MOST_BOXES = 5
_SLIVER = 1e-6  # share of a page that is only a rounding error


class Importance:
    """Holds the importance of the visual tokens of a page for one question.

    Args:
        keep: kept visual tokens, bool ``[N]`` in raster order, N = rows * columns.
        scores: importance logits, float32 ``[N]``.
        grid: rows and columns of visual tokens.
        size_pt: width and height of the page, in PDF points.
        frame: where the grid lies on the page.

    Raises:
        ValueError: the arrays do not have one entry for each token of the grid.
    """

    def __init__(
        self,
        keep: npt.NDArray[np.bool_],
        scores: npt.NDArray[np.float32],
        grid: tuple[int, int],
        size_pt: tuple[float, float],
        frame: Frame = WHOLE_PAGE,
    ) -> None:
        if keep.shape != (grid[0] * grid[1],) or scores.shape != keep.shape:
            raise ValueError(f"expected {grid[0]} x {grid[1]} tokens, found keep {keep.shape}, scores {scores.shape}")
        self._size_pt, self._frame = size_pt, frame
        self._keep = keep.reshape(grid) & self._on_page(grid)
        known = np.isfinite(scores)
        least = float(scores[known].min()) if known.any() else 0.0
        self._scores = np.where(known, scores, least).reshape(grid).astype(np.float64)

    def under(self, box: Sequence[float]) -> tuple[float, float]:
        """Return the mean and the highest importance logit under a box ``x0, y0, x1, y1`` in points."""
        rows, columns = self._scores.shape
        width, height = self._size_pt
        left, top = self._frame.on_grid(box[0] / width, box[1] / height)
        right, bottom = self._frame.on_grid(box[2] / width, box[3] / height)
        across, down = _shares(left, right, columns), _shares(top, bottom, rows)
        touched = self._scores[np.ix_(down > 0, across > 0)]
        return float(down @ self._scores @ across), float(touched.max())

    def regions(self, least: float) -> list[tuple[Box, float]]:
        """Return the box and best score of each region of kept tokens that exceed a score, best first.

        Args:
            least: score that a token must exceed; if none does, only the best kept one is returned.
        """
        rows, columns = self._scores.shape
        passing = self._keep & (self._scores > least)
        if not passing.any() and self._keep.any():
            best = np.where(self._keep, self._scores, -math.inf)
            passing = best == best.max()
        # Sides are shares of the page, so that the last column ends exactly at the edge, without a rounding error.
        width, height = self._size_pt
        found = []
        for region in _regions(passing):
            down, across = zip(*region, strict=True)
            left, top = self._frame.on_page(min(across) / columns, min(down) / rows)
            right, bottom = self._frame.on_page((max(across) + 1) / columns, (max(down) + 1) / rows)
            box = (width * left, height * top, width * right, height * bottom)
            found.append((box, max(float(self._scores[cell]) for cell in region)))
        return sorted(found, key=lambda one: -one[1])

    def cell_pt(self) -> tuple[float, float]:
        """Return width and height of a token in points."""
        rows, columns = self._scores.shape
        across, down = self._frame.x1 - self._frame.x0, self._frame.y1 - self._frame.y0
        return self._size_pt[0] * across / columns, self._size_pt[1] * down / rows

    def _on_page(self, grid: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Mark the tokens that show some of the page, ``[rows, columns]``; others show padding alone."""
        rows, columns = grid
        across = [self._frame.on_page(column / columns, 0)[0] for column in range(columns + 1)]
        down = [self._frame.on_page(0, row / rows)[1] for row in range(rows + 1)]
        inside: npt.NDArray[np.bool_] = np.outer(np.diff(down) > _SLIVER, np.diff(across) > _SLIVER)
        return inside


def attention_boxes(importance: Importance, ink: Ink, least: float = -math.inf) -> tuple[Evidence, ...]:
    """Draw boxes around what is printed where the model looked, best first.

    Args:
        importance: importance of the page's visual tokens.
        ink: what is printed on the page.
        least: score that the best token of a box must exceed; if none does, only the best one is returned.
    """
    regions = importance.regions(least)[:_MOST_BOXES]
    return tuple(
        Evidence(*_tight(importance, ink, box), score) for box, score in regions if score >= regions[0][1] - CLOSE
    )


def _tight(importance: Importance, ink: Ink, region: Box) -> Box:
    """Cut the box of a region down to the words of one line that matter most; one without print stays."""
    width, height = importance.cell_pt()
    x0, y0, x1, y1 = region
    lines = list(ink.words_in((x0 - _ACROSS * width, y0 - _DOWN * height, x1 + _ACROSS * width, y1 + _DOWN * height)))
    if not lines:
        return region
    line = max(lines, key=lambda words: max(_worth(importance, word) for word in words))
    best = max(range(len(line)), key=lambda i: _worth(importance, line[i]))
    means = [importance.under(word)[0] for word in line]
    enough = max(means[best] - _SPREAD, _UNSEEN)
    first = last = best
    while first > 0 and means[first - 1] >= enough:
        first -= 1
    while last + 1 < len(line) and means[last + 1] >= enough:
        last += 1
    words = line[first : last + 1]
    return words[0][0], min(word[1] for word in words), words[-1][2], max(word[3] for word in words)


def _worth(importance: Importance, word: Box) -> float:
    """Tell how much a word matters, by the tokens under it, the best of them, and those under its middle line."""
    x0, y0, x1, y1 = word
    middle = (y0 + y1) / 2
    mark = x1 - x0 < _MARK * (y1 - y0)
    return sum(importance.under(word)) + importance.under((x0, middle, x1, middle))[0] - _MARK_LOSS * mark


def _shares(low: float, high: float, cells: int) -> npt.NDArray[np.float64]:
    """Compute the share of ``low .. high`` (of 0..1) that lies in each of some equal cells, ``[cells]``."""
    low = min(max(low, 0.0), 1.0 - 1e-9)
    high = min(max(high, low + 1e-9), 1.0)
    edges = np.arange(cells + 1) / cells
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None)
    shares: npt.NDArray[np.float64] = inside / inside.sum()
    return shares


def _regions(grid: npt.NDArray[np.bool_]) -> Iterator[list[tuple[int, int]]]:
    """Yield the cells (row, column) of each region, from the top; cells that touch at a corner belong together."""
    cells = [(int(row), int(column)) for row, column in np.argwhere(grid)]
    left = set(cells)
    for first in cells:
        if first not in left:
            continue
        left.remove(first)
        region, front = [first], [first]
        while front:
            row, column = front.pop()
            near = left.intersection((row + down, column + across) for down in (-1, 0, 1) for across in (-1, 0, 1))
            left -= near
            region += near
            front += near
        yield region
