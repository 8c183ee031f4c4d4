"""Defines a drawn page, and the reader of an open file that draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.records import Image, Renderer
from pipeline.words import Words


@dataclass(frozen=True, slots=True)
class Drawing:
    """Holds a drawn page.

    Attributes:
        image: pixels, uint8 ``[height, width, 3]``.
        renderer: library that drew it.
        warnings: complaints of the libraries about the page, in order.
        is_doubtful: whether a part of the page may be missing, or its letters wrong.
        words: text layer of the page; ``None`` without one that can be read.
    """

    image: Image
    renderer: Renderer
    warnings: tuple[str, ...] = ()
    is_doubtful: bool = False
    words: Words | None = None


class OpenFile(Protocol):
    """Reads an open document of any kind; page indexes are 0-based.

    Attributes:
        pages: number of pages.
    """

    pages: int

    @property
    def is_repaired(self) -> bool:
        """Tell whether the file is known to be damaged, so that content may be missing."""

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Return width and height of a page as shown, in points, and the dpi to render it at."""

    def draw(self, index: int, width_px: int, height_px: int) -> Drawing:
        """Draw a page at the given size."""
