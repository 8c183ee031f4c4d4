"""Lets pages look scanned: a little askew, blurred, grey, specked, and squeezed as JPEG."""

from __future__ import annotations

import io
import math
import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

_SKEW = 2.0  # degrees to either side
_SPECKS = 0.0004  # of the pixels, at most

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def wear(rng: random.Random, grey: Grey, x: Floats, y: Floats) -> tuple[Grey, Floats, Floats]:
    """Wear a page out, each way by chance.

    Args:
        rng: source of chance.
        grey: pixels ``[height, width]``.
        x: places on the page in pixels, ``[n]``.
        y: the same, from the top.

    Returns:
        The worn pixels, and where the places are now.
    """
    page = Image.fromarray(grey)
    if rng.random() < 0.6:
        angle = rng.uniform(-_SKEW, _SKEW)
        page = page.rotate(angle, Image.Resampling.BICUBIC, fillcolor=int(grey.max()))
        x, y = _turned(x, y, angle, *page.size)
    if rng.random() < 0.5:
        page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    ink, paper = rng.uniform(0, 70), rng.uniform(215, 255)
    page = page.point([round(ink + (paper - ink) * level / 255) for level in range(256)])
    pixels = np.asarray(page).copy()
    if rng.random() < 0.4:
        chance = np.random.default_rng(rng.getrandbits(48))
        count = chance.integers(1, int(_SPECKS * pixels.size) + 2)
        pixels.flat[chance.integers(0, pixels.size, count)] = chance.integers(0, 256, count)
    if rng.random() < 0.6:
        squeezed = io.BytesIO()
        Image.fromarray(pixels).save(squeezed, "JPEG", quality=rng.randint(35, 85))
        pixels = np.asarray(Image.open(squeezed)).copy()
    return pixels, x, y


def _turned(x: Floats, y: Floats, degrees: float, width: int, height: int) -> tuple[Floats, Floats]:
    """Turn places about the middle of a page, against the clock as Pillow turns the picture."""
    sine, cosine = np.float32(math.sin(math.radians(degrees))), np.float32(math.cos(math.radians(degrees)))
    right, down = x - np.float32(width / 2), y - np.float32(height / 2)
    turned_x = right * cosine + down * sine + np.float32(width / 2)
    turned_y = down * cosine - right * sine + np.float32(height / 2)
    return turned_x, turned_y
