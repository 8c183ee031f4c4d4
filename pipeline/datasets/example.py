"""Defines an example: a question about a page, with its known answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.frame import Frame
from pipeline.questions.values import AnswerType, Reading


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle on a page, in shares of its width and height, with the origin at the top left."""

    x0: float
    y0: float
    x1: float
    y1: float

    def grown(self, across: float, down: float) -> Region:
        """Return the rectangle grown by ``across`` at the left and right and by ``down`` above and below."""
        return Region(self.x0 - across, self.y0 - down, self.x1 + across, self.y1 + down)

    def on_grid(self, frame: Frame) -> Region:
        """Return the rectangle in shares of the grid of visual tokens, which lies on the page at ``frame``."""
        return Region(*frame.on_grid(self.x0, self.y0), *frame.on_grid(self.x1, self.y1))


@dataclass(frozen=True, slots=True)
class Example:
    """A question with everything known about its answer.

    Attributes:
        document: path of the page's document.
        page: page number, from 1.
        question_id: name of the question in the data set.
        question: text of the question.
        answers: all answers that count as right, at least one.
        regions: places where the answer is printed; empty if they are unknown or the page does not hold the answer.
        answerable: whether the page holds the answer.
        type: what the answer stands for.
        reading: how answers are read; ``None`` for the type alone.
        prompt: the words that the model is asked with; ``None`` for the default prompt.
    """

    document: Path
    page: int
    question_id: str
    question: str
    answers: tuple[str, ...]
    regions: tuple[Region, ...]
    answerable: bool = True
    type: AnswerType = "text"
    reading: Reading | None = None
    prompt: str | None = None

    @property
    def read_as(self) -> Reading:
        """Return how answers are read."""
        return Reading(self.type) if self.reading is None else self.reading


def by_page(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Group consecutive examples that are about the same page."""
    for _, group in groupby(examples, key=lambda example: (example.document, example.page)):
        yield list(group)


def covered_cells(regions: Iterable[Region], rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Mark the cells of a ``rows`` x ``columns`` grid that a region touches, bool ``[rows * columns]`` by row.

    Args:
        regions: rectangles in shares of the grid.
        rows: number of rows of the grid.
        columns: number of columns of the grid.
    """
    shares = [_shares(region, rows, columns) for region in regions]
    return np.any([share > 0 for share in shares], axis=0) if shares else np.zeros(rows * columns, bool)


def coverage(region: Region, keep: npt.NDArray[np.bool_], rows: int, columns: int) -> float:
    """Compute the share of a region, in shares of the grid, under kept cells, in 0..1.

    Args:
        region: rectangle in shares of the grid.
        keep: kept cells, bool ``[rows * columns]`` in raster order.
        rows: number of rows of the grid.
        columns: number of columns of the grid.
    """
    return float(_shares(region, rows, columns)[keep].sum())


def _shares(region: Region, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Compute a region's share of area in each cell, ``[rows * columns]``; one without area counts as a point."""
    across = _overlap(region.x0, region.x1, columns)
    down = _overlap(region.y0, region.y1, rows)
    shares: npt.NDArray[np.float64] = np.outer(down, across).ravel()
    return shares


def _overlap(low: float, high: float, cells: int) -> npt.NDArray[np.float64]:
    """Compute the share of ``low .. high`` in each of the equal cells of 0..1, ``[cells]``."""
    low, high = (min(max(side, 0.0), 1.0) for side in (low, high))
    if high <= low:
        point: npt.NDArray[np.float64] = np.eye(cells)[min(int(low * cells), cells - 1)]
        return point
    edges = np.arange(cells + 1) / cells
    inside: npt.NDArray[np.float64] = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None)
    share: npt.NDArray[np.float64] = inside / (high - low)
    return share
