"""Pages of words without a PDF: every character is five points wide, every line ten points high."""

from __future__ import annotations

import numpy as np

from pipeline.records import Image, PageImage
from pipeline.words import Words

WIDE, HIGH, BLANK, PITCH = 5.0, 10.0, 3.0, 20.0
SCALE = 2  # pixels per point


def words_of(text: str) -> Words:
    """Lines with a line feed between them, words with a blank; two blanks leave a gap as between columns."""
    lines: list[list[str]] = []
    corners: list[float] = []
    for row, line in enumerate(text.split("\n")):
        x = 10.0
        lines.append([])
        for word in line.split(" "):
            if word:
                corners += [x, PITCH * row, x + WIDE * len(word), PITCH * row + HIGH]
                lines[-1].append(word)
            x += WIDE * len(word) + (BLANK if word else 10 * BLANK)
    return Words("\n".join(" ".join(line) for line in lines), tuple(corners))


def picture_of(words: Words, width_pt: float, height_pt: float) -> Image:
    """Every character as a black bar on white paper, with a pixel of paper at either side."""
    picture = np.full((round(height_pt * SCALE), round(width_pt * SCALE), 3), 255, np.uint8)
    for x0, y0, x1, y1 in np.array(words.corners).reshape(-1, 4) * SCALE:
        for x in np.arange(x0, x1, WIDE * SCALE):
            picture[int(y0) : int(y1), int(x) + 1 : int(x + WIDE * SCALE) - 1] = 0
    return picture


def page_of(text: str, width_pt: float = 280.0, height_pt: float = 140.0, *, layer: bool = True) -> PageImage:
    """A page on which these words are printed, with them as its text layer or without one."""
    words = words_of(text)
    picture = picture_of(words, width_pt, height_pt)
    height, width = picture.shape[:2]
    return PageImage(
        *("d", 1, width_pt, height_pt, 72.0 * SCALE, width, height, 50, 1.0, "raw", picture.tobytes()),
        words=words if layer else None,
    )
