"""Chooses the size of a picture of a page that people look at, and no model."""

from __future__ import annotations

import math

from pipeline.families.base import POINTS_PER_INCH, PagePixels

_MOST_PIXELS = 12_000_000


def fit_for_people(width_pt: float, height_pt: float, dpi: float) -> PagePixels:
    """Choose the size to render a page at; a page that would be larger than a screen can use is shrunk.

    Args:
        width_pt: width of the page in points.
        height_pt: height of the page in points.
        dpi: resolution in dots per inch.

    Returns:
        The size, without visual tokens.
    """
    scale = dpi / POINTS_PER_INCH
    scale *= min(1.0, math.sqrt(_MOST_PIXELS / (width_pt * scale * height_pt * scale)))
    width_px, height_px = (min(_MOST_PIXELS, max(1, math.floor(side * scale))) for side in (width_pt, height_pt))
    return PagePixels(width_px, height_px, scale * POINTS_PER_INCH, 0)
