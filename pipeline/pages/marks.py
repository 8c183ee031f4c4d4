"""Puts highlights and notes into an open PDF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import pymupdf

from pipeline.pages.turning import to_displayed

_AUTHOR = "docpipe"
_NOTE_STEP = 24.0  # points between notes in the margin
_LINE = 24.0  # points; no line of usual text is higher

Colour = tuple[float, float, float]


class Mark(TypedDict):
    """A note on a page, at highlighted boxes or in the margin, as JSON holds it.

    Attributes:
        page: page number, counted from 1.
        boxes: left, top, right and bottom of each box, in points from the top left corner of the page as displayed;
            without any, the note stands in the margin.
        colour: red, green and blue, in 0..1.
        subject: a few words that a viewer lists.
        text: what the note says.
    """

    page: int
    boxes: list[tuple[float, float, float, float]]
    colour: Colour
    subject: str
    text: str


def put_marks(document: pymupdf.Document, marks: Sequence[Mark]) -> None:
    """Put marks into an open PDF.

    Args:
        document: the PDF.
        marks: the marks; those of pages that the PDF does not have are left out.
    """
    in_margin: dict[int, int] = {}  # by object number of the page, since a document may show one twice
    done = set[str]()
    for mark in marks:
        index = mark["page"] - 1
        if not 0 <= index < document.page_count:
            continue
        page = document.load_page(index)
        same = repr({**mark, "page": page.xref})
        if same in done:
            continue
        done.add(same)
        rects = [pymupdf.Rect(box) & page.rect for box in mark["boxes"]]
        rects = [rect for rect in rects if not rect.is_empty]
        if not rects:
            in_margin[page.xref] = in_margin.get(page.xref, -1) + 1
            notes = [_in_margin(page, in_margin[page.xref])]
        elif all(rect.height <= _LINE for rect in rects):
            notes = [_highlighted(page, rects, mark["colour"])]
        else:
            notes = [_framed(page, rect, mark["colour"]) for rect in rects]
        for note in notes:
            note.set_info(title=_AUTHOR, subject=mark["subject"], content=mark["text"])
            note.update()


# Boxes are on the page as displayed; annotations stand on the page before it is turned.
def _highlighted(page: pymupdf.Page, rects: Sequence[pymupdf.Rect], colour: Colour) -> pymupdf.Annot:
    before = ~to_displayed(page)
    note = page.add_highlight_annot([rect.quad * before for rect in rects])
    note.set_colors(stroke=colour)
    return note


def _framed(page: pymupdf.Page, rect: pymupdf.Rect, colour: Colour) -> pymupdf.Annot:
    """Fill a box that is higher than a line; the round ends of a highlight would stand far out of it."""
    note = page.add_rect_annot((rect * ~to_displayed(page)).normalize())
    note.set_colors(stroke=colour, fill=colour)
    note.set_blendmode(pymupdf.PDF_BM_Multiply)
    return note


def _in_margin(page: pymupdf.Page, place: int) -> pymupdf.Annot:
    corner = pymupdf.Point(6, min(6 + _NOTE_STEP * place, max(0.0, page.rect.height - _NOTE_STEP)))
    return page.add_text_annot(corner * ~to_displayed(page), "", icon="Note")
