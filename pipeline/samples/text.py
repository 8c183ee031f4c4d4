"""Placed text: where each run, and each character of it, stands on the page. All lengths in PDF points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pymupdf

FONTS = ("helv", "hebo", "tiro", "tibo", "cour", "cobo")
BOLD = {"helv": "hebo", "tiro": "tibo", "cour": "cobo"}
ASCENT, DESCENT, MIDDLE = 0.76, 0.22, 0.26  # of the font size: box above and below the baseline, middle of the letters


@dataclass(frozen=True)
class Box:
    """A rectangle in PDF points, origin at the top left."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Character:
    """One printed character and its middle, in PDF points; ``pen_x`` is where its advance begins."""

    char: str
    x: float
    y: float
    pen_x: float


@dataclass(frozen=True)
class Run:
    """Text on one baseline in one font.

    Attributes:
        text: what is printed.
        x: left end.
        y: baseline.
        font: one of FONTS, another font that PyMuPDF knows by name, or the path of a font file.
        size: font size in points.
        role: `label:<key>`, `value:<key>` or empty.
        ink: 0 for black to 1 for white.
        tracking: points added behind each character.
    """

    text: str
    x: float
    y: float
    font: str
    size: float
    role: str = ""
    ink: float = 0.0
    tracking: float = 0.0

    @property
    def width(self) -> float:
        """Advance width in points."""
        return text_width(self.text, self.font, self.size) + self.tracking * len(self.text)

    @property
    def box(self) -> Box:
        """The rectangle the run covers."""
        return Box(self.x, self.y - ASCENT * self.size, self.x + self.width, self.y + DESCENT * self.size)

    def characters(self) -> Iterator[Character]:
        """Each character with its middle, in reading order."""
        x = self.x
        for char in self.text:
            width = text_width(char, self.font, self.size)
            yield Character(char, x + width / 2, self.y - MIDDLE * self.size, x)
            x += width + self.tracking

    @property
    def plain(self) -> bool:
        """Whether one of the base fonts prints it as it is, in black."""
        return self.font in FONTS and self.ink == 0 and self.tracking == 0 and self.text.isascii()


@dataclass(frozen=True)
class Shape:
    """A rectangle, or a line where two of its sides meet, below the text; 0 is black, 1 is white, None is nothing."""

    box: Box
    fill: float | None = None
    stroke: float | None = None


@cache
def load_font(name: str) -> pymupdf.Font:
    """A font by its name in PyMuPDF or by the path of its file."""
    return pymupdf.Font(fontfile=name) if "/" in name else pymupdf.Font(name)


def can_print(text: str, font: str) -> bool:
    """Whether the font has all characters of a text."""
    return all(_has(char, font) for char in text)


@cache
def _has(char: str, font: str) -> bool:
    return bool(load_font(font).has_glyph(ord(char)))


@cache
def _advance(char: str, font: str) -> float:
    return float(load_font(font).text_length(char, 1.0))


def text_width(text: str, font: str, size: float) -> float:
    """Advance width of the text in points (PDF standard fonts have no kerning)."""
    return sum(_advance(char, font) for char in text) * size
