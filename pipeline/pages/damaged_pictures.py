"""Finds pictures of a PDF whose data is damaged though MuPDF draws them; only the render child imports this."""

from __future__ import annotations

import zlib

import pymupdf

from pipeline.pages.image_damage import jpeg_damage
from pipeline.pages.lost_content import DAMAGED
from pipeline.pages.mupdf_calls import MUPDF_FAILURES

_PIECE = 1 << 20  # bytes of a picture that are held at a time


class DamagedPictures:
    """Checks the pictures of pages of one open PDF.

    A picture with changed data is drawn sheared, grey or garbled, and MuPDF rarely says so: it does not show what
    libjpeg complains of, and does not read on to the checksum behind the last pixel.
    """

    def __init__(self) -> None:
        self._known: dict[int, str | None] = {}  # by object number, since pages share pictures

    def of(self, page: pymupdf.Page) -> tuple[str, ...]:
        """Say what is wrong with the pictures on a page, one sentence per damaged picture."""
        try:
            pictures = page.get_images(full=True)
        except MUPDF_FAILURES:  # of which MuPDF tells when it draws the page
            return ()
        found = []
        for number, *_, coding, _ in pictures:
            if number not in self._known:
                self._known[number] = _damage(page.parent, number, coding)
            if self._known[number] is not None:
                found.append(f"{DAMAGED} {number}: {self._known[number]}")
        return tuple(found)


def _damage(document: pymupdf.Document, number: int, coding: str) -> str | None:
    """Say what is wrong with a picture, ``None`` where nothing is seen.

    Args:
        document: the PDF.
        number: object number of the picture.
        coding: name of its only filter; the data of several is not checked.
    """
    if coding not in {"DCTDecode", "FlateDecode"} or document.xref_get_key(number, "Filter")[0] != "name":
        return None
    try:
        data = document.xref_stream_raw(number)
    except MUPDF_FAILURES:
        return None
    return jpeg_damage(data) if coding == "DCTDecode" else _flate_damage(data)


def _flate_damage(data: bytes) -> str | None:
    inflating = zlib.decompressobj()
    left = data
    try:
        while not inflating.eof and left:
            inflating.decompress(left, _PIECE)
            left = inflating.unconsumed_tail
    except zlib.error as error:
        return str(error)
    return None  # one that ends early is drawn without its end, which MuPDF tells
