"""Judges whether a drawn page lacks content, from its pixels and from what the renderer said."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt

from pipeline.records import Image

TRANSFER = "ignoring transfer function"  # MuPDF's words, which it does not always say
VISIBILITY = "ignoring visibility expression"
DAMAGED = "damaged picture"  # our words, which begin the sentence of each

_CELL_PX = 12  # about the height of a line of text, at the sizes that models take
_FLAT = 12  # of 255; values that differ by no more count as one colour
_SAMPLED_PX = 8  # distance of the pixels that are looked at first
_FEW_CELLS = 3  # that renderers may disagree on: edges, small marks
# Share of the ink that lies elsewhere in another picture. Between two renderers, sound pages have .07, those with other
# letters or without a part more than .4.
_OTHER_INK = 0.35
# The same where letters are guessed: right guesses have at most .11, other letters .23 and more.
_OTHER_GUESS = 0.2

# What MuPDF says when a picture or a part of the content is missing from what it draws.
_PICTURE_LOST = re.compile(
    r"padding truncated image|cannot decode|jbig2|jpx|openjpeg|jpeg error|"
    r"corrupt jpeg|cannot load image|unhandled.*image|ccitt|unknown image",
    re.IGNORECASE,
)
_CONTENT_LOST = re.compile(
    r"treating as end of file|premature end|cannot load object|page may not be correct|cannot find|cannot load|"
    r"content stream is not a stream|syntax error in content|unknown filter|not implemented|unsupported error|"
    r"unhandled|cannot render|cannot draw text|nested too deep|too many|error in|"
    # A checksum that does not match proves that something was changed, though not where.
    r"ignoring zlib error",
    re.IGNORECASE,
)
# Fax pictures have no checksum, so that any renderer draws something from damaged ones.
_FAX_DAMAGED = re.compile("faxd", re.IGNORECASE)
# What it says when a font is missing, and the codes of its letters do not tell which letters they are.
_LETTERS_GUESSED = re.compile("non-embedded font using identity encoding")
# These leave the page whole: annotations without an appearance, and a font of words behind scans.
_HARMLESS = re.compile(r"appearance stream|HiddenHorzOCR", re.IGNORECASE)


def picture_lost(warnings: Iterable[str]) -> bool:
    """Tell whether a renderer said that it could not decode a picture, or not all of it."""
    return any(map(_is_of_picture, warnings))


def picture_undecoded(warnings: Iterable[str]) -> bool:
    """Tell whether a renderer said that it could not decode a picture, not only that data is missing at its end."""
    return picture_lost(line for line in warnings if "padding truncated" not in line)


def content_lost(warnings: Iterable[str]) -> bool:
    """Tell whether a renderer said that a part of the page is missing."""
    return any(_is_of_content(line) for line in warnings)


def lost_for_all(warnings: Iterable[str]) -> bool:
    """Tell whether something is missing that no other renderer can have drawn for certain.

    A picture that another renderer decodes is there. Content that is damaged is damaged for all, and renderers that
    say nothing of it leave it out as well.
    """
    return any((_is_of_content(line) and not _is_of_picture(line)) or _FAX_DAMAGED.search(line) for line in warnings)


def _is_of_picture(line: str) -> bool:
    harmless = line.startswith(DAMAGED) or _HARMLESS.search(line)  # damaged ones are drawn
    return bool(_PICTURE_LOST.search(line)) and not harmless


def _is_of_content(line: str) -> bool:
    return line.startswith(DAMAGED) or bool(_CONTENT_LOST.search(line) and not _HARMLESS.search(line))


def colours_lost(warnings: Collection[str]) -> bool:
    """Tell whether the colours of a page are not those that it should have."""
    return TRANSFER in warnings  # it often turns black into white


def layers_ignored(warnings: Collection[str]) -> bool:
    """Tell whether a page may show layers that should be hidden, or the other way round."""
    return VISIBILITY in warnings


def letters_guessed(warnings: Iterable[str]) -> bool:
    """Tell whether a renderer had to guess the letters of a font."""
    return any(_LETTERS_GUESSED.search(line) for line in warnings)


def is_uniform(page: Image) -> bool:
    """Tell whether a page is of one colour all over."""
    # A few pixels tell most pages apart, and looking at all of them takes as long as drawing some pages.
    return _is_flat(page[::_SAMPLED_PX, ::_SAMPLED_PX]) and _is_flat(page)


def _is_flat(page: Image) -> bool:
    return bool((np.ptp(page.reshape(-1, page.shape[-1]), axis=0) <= _FLAT).all())


def shows_something(page: Image) -> bool:
    """Tell whether any small part of a page has more than one colour."""
    return bool(_cells(page).any())


def missing_cells(page: Image, other: Image) -> int:
    """Count the cells in which ``other`` shows something, and ``page`` shows nothing there or beside it.

    Args:
        page: pixels, uint8 ``[height, width, 3]``.
        other: another picture of the same page, of the same size.
    """
    near = np.pad(_cells(page), 1)
    rows, columns = near.shape[0] - 2, near.shape[1] - 2
    around = [near[down : down + rows, right : right + columns] for down in range(3) for right in range(3)]
    return int((_cells(other) & ~np.logical_or.reduce(around)).sum())


def lacks(page: Image, other: Image) -> bool:
    """Tell whether ``other`` shows clearly more of the same page than ``page`` does."""
    more = missing_cells(page, other)
    return more > _FEW_CELLS and more > 2 * missing_cells(other, page)


def differ(page: Image, other: Image, guessed: bool = False) -> bool:
    """Tell whether two pictures of a page show other letters or shapes, beyond the ways in which renderers draw.

    Args:
        page: pixels, uint8 ``[height, width, 3]``.
        other: another picture of the same page, of the same size.
        guessed: whether letters were guessed, so that smaller differences count.
    """
    mine, theirs = _tones(page), _tones(other)
    ink = np.maximum(np.abs(mine - np.median(mine)), np.abs(theirs - np.median(theirs))).sum()
    share = float(np.abs(mine - theirs).sum()) / max(float(ink), 1.0)
    return share > (_OTHER_GUESS if guessed else _OTHER_INK)


def _tones(page: Image) -> npt.NDArray[np.float64]:
    """Compute the mean grey of every cell, ``[rows, columns]``."""
    tones: npt.NDArray[np.float64] = _split(page).mean(axis=(1, 3, 4))
    return tones


def _cells(page: Image) -> npt.NDArray[np.bool_]:
    """Find the cells with more than one colour, bool ``[rows, columns]``."""
    found: npt.NDArray[np.bool_] = np.ptp(_split(page), axis=(1, 3)).max(-1) > _FLAT
    return found


def _split(page: Image) -> Image:
    """Split a page into cells, ``[rows, cell, columns, cell, 3]``; a narrow rest at the edges is left out."""
    rows, columns = max(1, page.shape[0] // _CELL_PX), max(1, page.shape[1] // _CELL_PX)
    high, wide = min(page.shape[0], _CELL_PX), min(page.shape[1], _CELL_PX)
    return page[: rows * high, : columns * wide].reshape(rows, high, columns, wide, page.shape[-1])
