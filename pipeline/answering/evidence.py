"""Finds where on the page an answer comes from: the regions of kept visual tokens."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

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
    grid = keep.reshape(rows, columns)
    labels, _ = ndimage.label(grid, structure=np.ones((3, 3)))  # tokens that touch at a corner belong together
    boxes = []
    # Sides are shares of the page, so that the last column ends exactly at the edge, without a rounding error.
    for label, (down, across) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[down, across] == label
        best = float(scores.reshape(rows, columns)[down, across][inside].max())
        boxes.append(
            Evidence(
                x0=width_pt * (across.start / columns),
                y0=height_pt * (down.start / rows),
                x1=width_pt * (across.stop / columns),
                y1=height_pt * (down.stop / rows),
                score=best,
            )
        )
    boxes.sort(key=lambda box: -box.score)
    return tuple([box for box in boxes if box.score > least][:limit] or boxes[:1])
