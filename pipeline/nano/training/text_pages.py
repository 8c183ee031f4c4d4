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

from pipeline.nano.training.fonts import BASE, COMMON, RARE, font_name
from pipeline.nano.training.ink import ink_middle
from pipeline.nano.training.shape import CELL
from pipeline.nano.training.targets import CLASS_OF, character_targets
from pipeline.nano.training.text_tokens import random_token
from pipeline.nano.training.tower import cells_in_window_order, in_window_order
from pipeline.samples.text import MIDDLE, can_print, load_font, text_width

PIXELS_PER_POINT = 2.0  # 144 dpi
_STYLES = 14  # fonts of a sheet: each costs time to embed
_SHEET = 8  # crops of a sheet: PyMuPDF measures all that is written whenever it writes more
_BLACK, _DARK, _GREY, _WHITE = (0.0,), (0.3,), (0.5,), (1.0,)
Written = tuple[int, float, float]  # class and middle of a character, the latter in points


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Crops with their characters: pixels ``[B, H, W]`` uint8, and the targets of the reading heads in window order."""

    pixels: Tensor
    patch: Tensor
    cell: Tensor


def text_batch(seed: int, count: int, height: int, width: int) -> TextBatch:
    """Draw ``count`` crops of ``height`` x ``width`` pixels; the same seed gives the same batch."""
    rng = random.Random(seed)
    greys, patches, cells = [], [], []
    for begin in range(0, count, _SHEET):
        crops = min(_SHEET, count - begin)
        grey, classes, x, y = _sheet(rng, crops * height, width)
        greys.append(grey)
        for top in range(0, crops * height, height):
            near = (y > top - CELL) & (y < top + height + CELL)
            targets = character_targets(classes[near], x[near], y[near] - np.float32(top), height, width)
            patches.append(targets.patch)
            cells.append(targets.cell)
    return TextBatch(
        torch.from_numpy(np.concatenate(greys).reshape(count, height, width)),
        in_window_order(torch.from_numpy(np.stack(patches))),
        cells_in_window_order(torch.from_numpy(np.stack(cells))),
    )


def _sheet(
    rng: random.Random, height: int, width: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A page that is cut into crops, and the class and the middle (pixels) of each of its characters."""
    wide, tall = width / PIXELS_PER_POINT, height / PIXELS_PER_POINT
    fonts = [font_name(f) for f in (*rng.sample(BASE, 4), *rng.sample(COMMON, 6), *rng.sample(RARE, _STYLES - 10))]
    characters: list[Written] = []
    with pymupdf.open() as document:
        page = document.new_page(width=wide, height=tall)
        ground = page.new_shape()  # one content stream: PyMuPDF parses what a page has before it adds another
        writers = {ink: pymupdf.TextWriter(page.rect) for ink in (_BLACK, _DARK, _GREY, _WHITE)}
        y = rng.uniform(-4, 10)
        while y < tall + 8:
            size = rng.uniform(8, 11) if rng.random() < 0.75 else rng.uniform(6.8, 14)
            top, bottom = y - 0.95 * size, y + 0.32 * size
            ink = _ground(rng, ground, top, bottom, wide)
            _line(rng, writers[ink], fonts, y, size, wide, characters)
            leading = rng.uniform(1.12, 1.5) if rng.random() < 0.75 else rng.uniform(1.3, 2.2)
            y += size * leading
            if rng.random() < 0.08:
                ground.draw_line((0, y - 0.9 * size), (wide, y - 0.9 * size))
                ground.finish(color=_GREY, width=rng.uniform(0.3, 1.2))
                y += 3
        ground.commit()
        for colour, writer in writers.items():
            writer.write_text(page, color=colour)
        zoom = pymupdf.Matrix(PIXELS_PER_POINT, PIXELS_PER_POINT)
        picture = page.get_pixmap(matrix=zoom, colorspace=pymupdf.csGRAY, alpha=False)
    grey = np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.stride)[:height, :width].copy()
    table = np.array(characters, np.float32) * np.array([1.0, PIXELS_PER_POINT, PIXELS_PER_POINT], np.float32)
    return grey, table[:, 0].astype(np.int64), table[:, 1], table[:, 2]


def _ground(rng: random.Random, ground: pymupdf.Shape, top: float, bottom: float, wide: float) -> tuple[float]:
    """Shade the ground of some lines, and choose the ink that can be read on it."""
    chance = rng.random()
    if chance < 0.1:
        light = rng.uniform(0.78, 0.97)
        ground.draw_rect(pymupdf.Rect(0, top, wide, bottom))
        ground.finish(color=None, fill=(light,))
        return _BLACK
    if chance < 0.13:
        ground.draw_rect(pymupdf.Rect(0, top, wide, bottom))
        ground.finish(color=None, fill=(rng.uniform(0.0, 0.4),))
        return _WHITE
    return rng.choices((_BLACK, _DARK, _GREY), (80, 12, 8))[0]


def _line(
    rng: random.Random,
    writer: pymupdf.TextWriter,
    fonts: list[str],
    y: float,
    size: float,
    wide: float,
    characters: list[Written],
) -> None:
    """Write one line of random words from edge to edge, some of it tracked, and note its characters."""
    x = rng.uniform(-30, 6)
    while x < wide:
        name = rng.choice(fonts)
        tracking = rng.uniform(-0.03, 0.2) * size if rng.random() < 0.06 else 0.0
        text = " ".join(random_token(rng) for _ in range(rng.randint(1, 5)))
        text = "".join(char for char in text if can_print(char, name))
        if not tracking:
            writer.append((x, y), text, font=load_font(name), fontsize=size)
        for char in text:
            if tracking:
                writer.append((x, y), char, font=load_font(name), fontsize=size)
            characters.append((CLASS_OF[char], x + ink_middle(char, name) * size, y - MIDDLE * size))
            x += text_width(char, name, size) + tracking
        x += rng.uniform(4, 9) if rng.random() < 0.5 else rng.uniform(5, 40)
