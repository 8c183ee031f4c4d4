"""Draws the visual tokens that a question kept onto the page, for people to look at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageDraw

from pipeline.records import Image

_FADED = 0.3  # share of the ink that is left of a dropped token
_FRAME = (214, 84, 0)


def draw_kept(page: Image, keep: npt.NDArray[np.bool_], grid: tuple[int, int]) -> PilImage.Image:
    """Draw a page with dropped tokens faded and kept tokens framed.

    Args:
        page: pixels, uint8 ``[height, width, 3]``.
        keep: kept visual tokens, bool ``[N]`` in raster order.
        grid: rows and columns of visual tokens, N = rows * columns.

    Raises:
        ValueError: ``keep`` does not have one entry for each token of the grid.
    """
    rows, columns = grid
    if keep.shape != (rows * columns,):
        raise ValueError(f"expected {rows} x {columns} = {rows * columns} tokens, found keep {keep.shape}")
    height, width = page.shape[:2]
    down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
    kept = keep.reshape(rows, columns)
    visible = kept[np.ix_(down, across)][..., None]
    faded = 255 - (255 - page.astype(np.float32)) * _FADED
    picture = PilImage.fromarray(np.where(visible, page, faded).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for row, column in np.argwhere(kept):
        corners = (
            (column * width // columns, row * height // rows),
            (
                (column + 1) * width // columns - 1,
                (row + 1) * height // rows - 1,
            ),
        )
        draw.rectangle(corners, outline=_FRAME)
    return picture
