"""Reads the text layer of a page with MuPDF; only the render child and the samples import this."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pymupdf

from pipeline.pages.ink import Ink
from pipeline.pages.turning import to_displayed
from pipeline.records import Image
from pipeline.words import Words

MOST_WORDS = 20_000
"""Words of a page whose text layer is used; a crowded page of a newspaper has a third of them."""

# Without the flag that gives the number of a glyph for a letter that is not known, which would look like text.
_FLAGS = pymupdf.TEXT_PRESERVE_WHITESPACE | pymupdf.TEXT_MEDIABOX_CLIP
_UNREADABLE = 0.25  # share of characters that are no letters of any script, from which on none is trusted
_NO_LETTERS = frozenset({"Co", "Cn", "Cs", "Cc"})
_ASCENT, _DESCENT = 0.8, 0.2  # of the font size; what fonts state is for the distance of lines and much more
_Box = tuple[float, float, float, float]


def read_words(page: pymupdf.Page, image: Image) -> Words | None:
    """Read the words of a page; ``None`` where it has none, too many, or mostly unreadable ones.

    Words that lie invisibly behind a scan count. Words that leave no ink where they stand do not, because they have the
    colour of the paper or something covers them.

    Args:
        page: the page.
        image: its picture, uint8 ``[height, width, 3]``.
    """
    layer = page.get_textpage(flags=_FLAGS)
    found = layer.extractWORDS()
    if not found or len(found) > MOST_WORDS or _is_garbage("".join(word[4] for word in found)):
        return None
    blocks: list[Mapping[str, Any]] = layer.extractDICT()["blocks"]
    boxes = np.array([_tight(word[:4], blocks[word[5]]["lines"][word[6]]) for word in found])
    shown = _as_displayed(boxes, page)
    ink = Ink(image, float(page.rect.width), float(page.rect.height))
    lines: dict[tuple[int, int], list[str]] = {}
    corners: list[float] = []
    for word, box in zip(found, shown.round(2).tolist(), strict=True):
        if ink.under(box):
            lines.setdefault((word[5], word[6]), []).append(_clean(word[4]))
            corners += box
    return Words("\n".join(" ".join(line) for line in lines.values()), tuple(corners)) if lines else None


def _is_garbage(text: str) -> bool:
    """Tell whether too many characters stand for no letter, as with fonts that do not say which letters they draw."""
    unreadable = sum(char == "\ufffd" or unicodedata.category(char) in _NO_LETTERS for char in text)
    return unreadable > _UNREADABLE * len(text)


def _clean(word: str) -> str:
    """Return a word with a replacement character for each blank, control or half character, which no text may hold."""
    if word.isascii() and word.isprintable() and " " not in word:
        return word
    return "".join("\ufffd" if char == " " or unicodedata.category(char) in ("Cc", "Cs") else char for char in word)


def _tight(box: _Box, line: Mapping[str, Any]) -> _Box:
    """Cut a box down to the height of the letters, where the line runs along or across the page."""
    along, across = line["dir"]
    flat = abs(along) > abs(across)
    if min(abs(along), abs(across)) > 0.01 * max(abs(along), abs(across)):
        return box
    low, high = (box[1], box[3]) if flat else (box[0], box[2])
    span = _span_at(line["spans"], box, flat)
    base = span["origin"][1 if flat else 0]
    above, below = _ASCENT * span["size"], _DESCENT * span["size"]
    if (along if flat else -across) < 0:  # upside down, or running down the page
        above, below = below, above
    start, end = max(low, base - above), min(high, base + below)
    if start >= end:
        return box
    return (box[0], start, box[2], end) if flat else (start, box[1], end, box[3])


def _span_at(spans: Sequence[Mapping[str, Any]], box: _Box, flat: bool) -> Mapping[str, Any]:
    """Find the part of a line, in one font and size, that a word stands in."""
    low, high = (0, 2) if flat else (1, 3)
    middle = (box[low] + box[high]) / 2
    return next((span for span in spans if span["bbox"][low] <= middle <= span["bbox"][high]), spans[0])


def _as_displayed(boxes: npt.NDArray[np.float64], page: pymupdf.Page) -> npt.NDArray[np.float64]:
    """Turn boxes ``[N, 4]`` with the page, and cut them at its edges."""
    a, b, c, d, e, f = to_displayed(page)
    across = a * boxes[:, 0::2] + c * boxes[:, 1::2] + e
    down = b * boxes[:, 0::2] + d * boxes[:, 1::2] + f
    shown = np.stack([across.min(1), down.min(1), across.max(1), down.max(1)], axis=1)
    width, height = page.rect.width, page.rect.height
    cut: npt.NDArray[np.float64] = shown.clip(0.0, [width, height, width, height])
    return cut
