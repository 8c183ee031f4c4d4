"""Crops full of text, on which the vision tower learns to read before there are any questions.

A business document is mostly blank; a crop of words from edge to edge teaches twenty times the characters a second.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pymupdf
import torch
from torch import Tensor

from pipeline.nano.training.targets import CLASS_OF, character_targets
from pipeline.nano.training.tower import cells_in_window_order, in_window_order
from pipeline.samples.layout import SIZES
from pipeline.samples.text import BOLD, MIDDLE, text_width

PIXELS_PER_POINT = 2.0  # 144 dpi
_DIGITS, _UPPER, _LOWER = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MARKS = ".,:-/#$%+&'()@*_=!?;<>|\"[]"
_KINDS = ("digits", "money", "code", "date", "mark", "name", "word", "upper", "mixed", "marks")
_SHARES = (22, 12, 8, 8, 6, 16, 14, 5, 7, 2)


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Crops with their characters: pixels ``[B, H, W]`` uint8, and the targets of the reading heads in window order."""

    pixels: Tensor
    patch: Tensor
    cell: Tensor


def text_batch(seed: int, count: int, height: int, width: int, fonts: tuple[str, ...]) -> TextBatch:
    """Draw ``count`` crops of ``height`` x ``width`` pixels; the same seed gives the same batch."""
    rng = random.Random(seed)
    pixels, patches, cells = [], [], []
    for _ in range(count):
        grey, classes, x, y = _crop(rng, height, width, fonts)
        targets = character_targets(classes, x, y, height, width)
        pixels.append(grey)
        patches.append(targets.patch)
        cells.append(targets.cell)
    return TextBatch(
        torch.from_numpy(np.stack(pixels)),
        in_window_order(torch.from_numpy(np.stack(patches))),
        cells_in_window_order(torch.from_numpy(np.stack(cells))),
    )


def _crop(
    rng: random.Random, height: int, width: int, fonts: tuple[str, ...]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """One crop, and the class and the middle (pixels) of each of its characters."""
    wide, tall = width / PIXELS_PER_POINT, height / PIXELS_PER_POINT
    styles = [*fonts, *(BOLD[font] for font in fonts)]
    characters: list[tuple[int, float, float]] = []
    with pymupdf.open() as document:
        page = document.new_page(width=wide, height=tall)
        y = rng.uniform(-4, 10)
        while y < tall + 8:
            x, biggest = rng.uniform(-30, 6), 9.0
            while x < wide:
                font = rng.choice(styles)
                size = rng.choice(SIZES) if rng.random() < 0.8 else rng.uniform(8.2, 12.5)
                biggest = max(biggest, size)
                text = " ".join(_token(rng) for _ in range(rng.randint(1, 5)))
                page.insert_text((x, y), text, fontname=font, fontsize=size)
                for char in text:
                    advance = text_width(char, font, size)
                    characters.append((CLASS_OF[char], x + advance / 2, y - MIDDLE * size))
                    x += advance
                x += rng.uniform(4, 9) if rng.random() < 0.5 else rng.uniform(5, 40)
            y += biggest * (rng.uniform(1.08, 1.5) if rng.random() < 0.75 else rng.uniform(1.3, 2.2))
        zoom = pymupdf.Matrix(PIXELS_PER_POINT, PIXELS_PER_POINT)
        picture = page.get_pixmap(matrix=zoom, colorspace=pymupdf.csGRAY, alpha=False)
    grey = np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.stride)[:height, :width].copy()
    table = np.array(characters, np.float32) * np.array([1.0, PIXELS_PER_POINT, PIXELS_PER_POINT], np.float32)
    return grey, table[:, 0].astype(np.int64), table[:, 1], table[:, 2]


def _token(rng: random.Random) -> str:
    def some(chars: str, low: int, high: int) -> str:
        return "".join(rng.choices(chars, k=rng.randint(low, high)))

    kind = rng.choices(_KINDS, _SHARES)[0]
    if kind == "digits":
        return some(_DIGITS, 1, 8)
    if kind == "money":
        return rng.choice(["", "$", "EUR "]) + f"{rng.randint(0, 99999)}.{rng.randint(0, 99):02d}"
    if kind == "code":
        return some(_UPPER, 1, 4) + rng.choice(["-", "", "#", "/"]) + some(_DIGITS, 2, 6)
    if kind == "date":
        day, month, year = f"{rng.randint(1, 31):02d}", rng.randint(1, 12), str(rng.randint(2000, 2039))
        named = f"{day} {_MONTHS[month - 1]} {year}"
        return rng.choice([f"{year}-{month:02d}-{day}", f"{day}/{month:02d}/{year}", named])
    if kind == "mark":
        return rng.choice(["#", "+", "$", ""]) + some(_DIGITS, 1, 4) + rng.choice(["%", "", ":", ",", "."])
    if kind == "name":
        return some(_UPPER, 1, 1) + some(_LOWER, 1, 9) + rng.choice(["", "", "", ":", " :", ",", "."])
    if kind == "word":
        return some(_LOWER, 1, 9)
    if kind == "upper":
        return some(_UPPER, 1, 7)
    return some(_DIGITS + _UPPER + _LOWER, 2, 8) if kind == "mixed" else some(_MARKS, 1, 3)
