"""Which visual tokens of a page show nothing but paper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.records import Image

_FLAT = 12  # of 255: what lies closer together is one colour to a page_answerer
_ANCHORS = 3, 5


def inked_cells(page: Image, cell: int) -> npt.NDArray[np.bool_]:
    """Which cells of a page have more than one colour in them.

    Args:
        page: ``[rows * cell, columns * cell, 3]``.
        cell: side of a visual token in pixels.

    Returns:
        ``[rows, columns]``.
    """
    height, width, channels = page.shape
    cells = page.reshape(height // cell, cell, width // cell, cell, channels)
    ink: npt.NDArray[np.bool_] = np.ptp(cells, axis=(1, 3)).max(-1) > _FLAT
    return ink


def visible_cells(page: Image, cell: int) -> npt.NDArray[np.bool_]:
    """Which visual tokens the model is to see: those with ink, and enough paper to know where they are.

    Kept beside the ink are the cells at its left and right, which tell where words and columns end, every third cell of
    every third row, and every fifth of every fifth, which are the anchors of the embedded model's add-on: without any
    paper the embedded model misses one answer in ten.

    Args:
        page: ``[rows * cell, columns * cell, 3]``.
        cell: side of a visual token in pixels.

    Returns:
        ``[rows * columns]`` in raster order.
    """
    ink = inked_cells(page, cell)
    visible = ink.copy()
    visible[:, 1:] |= ink[:, :-1]
    visible[:, :-1] |= ink[:, 1:]
    for every in _ANCHORS:
        visible[::every, ::every] = True
    return visible.ravel()
