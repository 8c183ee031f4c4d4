"""Draws the visual tokens that a question kept onto the page, for people to look at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageDraw

from pipeline.frame import WHOLE_PAGE, Frame
from pipeline.records import Image

_FADED = 0.3  # share of the ink that is left of a dropped token
_FRAME = (214, 84, 0)
_ROUNDING = 1e-9  # so that a share of two whole numbers gives a whole number of pixels


def draw_kept(
    page: Image, keep: npt.NDArray[np.bool_], grid: tuple[int, int], frame: Frame = WHOLE_PAGE
) -> PilImage.Image:
    """Draw a page with dropped tokens faded and kept tokens framed.

    Args:
        page: pixels, uint8 ``[height, width, 3]``.
        keep: kept visual tokens, bool ``[N]`` in raster order.
        grid: rows and columns of visual tokens, N = rows * columns.
        frame: where the grid lies on the page.

    Raises:
        ValueError: ``keep`` does not have one entry for each token of the grid.
    """
    rows, columns = grid
    if keep.shape != (rows * columns,):
        raise ValueError(f"expected {rows} x {columns} = {rows * columns} tokens, found keep {keep.shape}")
    height, width = page.shape[:2]
    edges_x = [_px(frame.on_page(column / columns, 0)[0], width) for column in range(columns + 1)]
    edges_y = [_px(frame.on_page(0, row / rows)[1], height) for row in range(rows + 1)]
    down, across = (np.repeat(np.arange(len(edges) - 1), np.diff(edges)) for edges in (edges_y, edges_x))
    kept = keep.reshape(rows, columns)
    visible = kept[np.ix_(down, across)][..., None]
    faded = 255 - (255 - page.astype(np.float32)) * _FADED
    picture = PilImage.fromarray(np.where(visible, page, faded).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for row, column in np.argwhere(kept):
        (x0, x1), (y0, y1) = edges_x[column : column + 2], edges_y[row : row + 2]
        if x0 < x1 and y0 < y1:  # else the token shows padding alone
            draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=_FRAME)
    return picture


def _px(share: float, side: int) -> int:
    """Turn a share of a side into pixels."""
    return int(share * side + _ROUNDING)
