"""Where the ink of a character stands: what can be seen of it, whatever room its font leaves beside it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pymupdf

from pipeline.samples.text import load_font, text_width

_SIZE = 64  # points, and pixels, a character is drawn at
_INKED = 128  # grey values below are ink


@cache
def ink_middle(char: str, font: str) -> float:
    """How far right of the pen the middle of a character's ink is, in units of the font size.

    It is looked up in a picture: as a glyph's box MuPDF gives the box of the whole font, unless the font is built in.

    Args:
        char: one character; a blank has its middle in the middle of its advance.
        font: as `pipeline.samples.text.load_font` takes it.
    """
    with pymupdf.open() as document:
        page = document.new_page(width=4 * _SIZE, height=3 * _SIZE)
        writer = pymupdf.TextWriter(page.rect)
        writer.append((_SIZE, 2 * _SIZE), char, font=load_font(font), fontsize=_SIZE)
        writer.write_text(page)
        drawn = page.get_pixmap(colorspace=pymupdf.csGRAY)
    grey = np.frombuffer(drawn.samples, np.uint8).reshape(drawn.height, drawn.stride)[:, : drawn.width]
    inked = np.flatnonzero((grey < _INKED).any(0))
    if not len(inked):
        return text_width(char, font, 1.0) / 2
    return float(inked[0] + inked[-1] + 1) / 2 / _SIZE - 1
