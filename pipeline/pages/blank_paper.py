"""Finds the visual tokens of a page that show only blank paper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.records import Image

_FLAT = 12  # of 255; values that differ by no more count as one colour
_ANCHORS = 3, 5


def inked_cells(page: Image, cell: int) -> npt.NDArray[np.bool_]:
    """Find the cells of a page that have more than one colour.

    Args:
        page: pixels, uint8 ``[rows * cell, columns * cell, 3]``.
        cell: side of a visual token in pixels.

    Returns:
        Cells with ink, bool ``[rows, columns]``.
    """
    height, width, channels = page.shape
    rows, columns = height // cell, width // cell
    lines = page.reshape(rows, cell, width * channels)  # numpy is many times as fast along whole lines
    brightest, darkest = (
        extreme(extreme(lines, axis=1).reshape(rows, columns, cell, channels), axis=2) for extreme in (np.max, np.min)
    )
    ink: npt.NDArray[np.bool_] = (brightest - darkest).max(-1) > _FLAT
    return ink


def visible_cells(page: Image, cell: int) -> npt.NDArray[np.bool_]:
    """Choose the visual tokens that the model sees: those with ink, and enough paper to locate them.

    The cells to the left and right of ink stay too, because they show where words and columns end. So do every third
    cell of every third row, and every fifth cell of every fifth row, which are the anchors of the embedded model's
    add-on: without any paper the embedded model misses one answer in ten.

    Args:
        page: pixels, uint8 ``[rows * cell, columns * cell, 3]``.
        cell: side of a visual token in pixels.

    Returns:
        Visible tokens, bool ``[rows * columns]`` in raster order.
    """
    ink = inked_cells(page, cell)
    visible = ink.copy()
    visible[:, 1:] |= ink[:, :-1]
    visible[:, :-1] |= ink[:, 1:]
    for every in _ANCHORS:
        visible[::every, ::every] = True
    return visible.ravel()
