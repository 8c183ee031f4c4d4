"""Finds where on the page an answer comes from: the regions of kept visual tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.records import Evidence


def evidence_boxes(
    keep: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float32],
    rows: int,
    columns: int,
    width_pt: float,
    height_pt: float,
    least: float = -math.inf,
    limit: int = 5,
) -> tuple[Evidence, ...]:
    """Draw boxes around connected kept tokens, best score first.

    Args:
        keep: kept visual tokens, bool ``[N]`` in raster order, N = rows * columns.
        scores: importance logits, float32 ``[N]``.
        rows: number of rows of visual tokens.
        columns: number of columns of visual tokens.
        width_pt: width of the page, in PDF points.
        height_pt: height of the page, in PDF points.
        least: score that the best token of a region must exceed; if no region does, only the best one is returned.
        limit: largest number of boxes.

    Raises:
        ValueError: the arrays do not have one entry for each token of the grid.
    """
    if keep.shape != (rows * columns,) or scores.shape != keep.shape:
        raise ValueError(
            f"expected {rows} x {columns} = {rows * columns} tokens, found keep {keep.shape}, scores {scores.shape}"
        )
    importance = scores.reshape(rows, columns)
    boxes = []
    # Sides are shares of the page, so that the last column ends exactly at the edge, without a rounding error.
    for region in _regions(keep.reshape(rows, columns)):
        down, across = zip(*region, strict=True)
        boxes.append(
            Evidence(
                x0=width_pt * (min(across) / columns),
                y0=height_pt * (min(down) / rows),
                x1=width_pt * ((max(across) + 1) / columns),
                y1=height_pt * ((max(down) + 1) / rows),
                score=max(float(importance[cell]) for cell in region),
            )
        )
    boxes.sort(key=lambda box: -box.score)
    return tuple([box for box in boxes if box.score > least][:limit] or boxes[:1])


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
