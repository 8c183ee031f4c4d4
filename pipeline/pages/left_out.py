"""Finds what MuPDF leaves out of a page without a word, and PDFium does not; only the render child imports this."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymupdf

from pipeline.pages.lost_content import TRANSFER, VISIBILITY

_HARMLESS = ("Identity", "Default")
_DEPTH = 8  # of forms and patterns inside one another
_NOTHING: frozenset[str] = frozenset()


class LeftOut:
    """Looks at the resources of pages of one open PDF.

    Pages share forms, patterns and pictures, so that each of them is looked at once per document.
    """

    def __init__(self) -> None:
        self._known: dict[int, frozenset[str]] = {}  # by object number

    def of(self, page: pymupdf.Page) -> tuple[str, ...]:
        """List what MuPDF leaves out of a page: transfer functions, and visibility expressions of layers."""
        mupdf = pymupdf.mupdf
        entry = mupdf.pdf_page_from_fz_page(page.this).obj()
        resources = mupdf.pdf_dict_get_inheritable(entry, mupdf.pdf_new_name("Resources"))
        return tuple(sorted(self._in_resources(resources, _DEPTH)))

    def _in_resources(self, resources: Any, depth: int) -> frozenset[str]:
        if depth < 0:
            return _NOTHING
        found = set()
        if any(_changes_colours(state) for state in _values(resources, "ExtGState")):
            found.add(TRANSFER)
        if any(_has_expression(layer) for layer in _values(resources, "Properties")):
            found.add(VISIBILITY)
        parts = [part for kind in ("XObject", "Pattern") for part in _values(resources, kind)]
        return frozenset(found).union(*(self._in_part(part, depth) for part in parts))

    def _in_part(self, part: Any, depth: int) -> frozenset[str]:
        number = pymupdf.mupdf.pdf_to_num(part)  # 0 for one that is no object of its own
        if number in self._known:
            return self._known[number]
        if number:
            self._known[number] = _NOTHING  # while it is looked at, since forms may contain themselves
        found = self._in_resources(pymupdf.mupdf.pdf_dict_gets(part, "Resources"), depth - 1)
        if _has_expression(pymupdf.mupdf.pdf_dict_gets(part, "OC")):
            found |= {VISIBILITY}
        if number:
            self._known[number] = found
        return found


def _values(resources: Any, kind: str) -> Iterator[Any]:
    mupdf = pymupdf.mupdf
    named = mupdf.pdf_dict_gets(resources, kind)
    for position in range(mupdf.pdf_dict_len(named)):
        yield mupdf.pdf_dict_get_val(named, position)


def _changes_colours(state: Any) -> bool:
    """Tell whether a graphics state sets a transfer function, of which /TR2 goes before /TR."""
    mupdf = pymupdf.mupdf
    found = [mupdf.pdf_dict_gets(state, key) for key in ("TR2", "TR")]
    given = next((value for value in found if not mupdf.pdf_is_null(value)), None)
    return given is not None and mupdf.pdf_to_name(given) not in _HARMLESS


def _has_expression(layer: Any) -> bool:
    return bool(pymupdf.mupdf.pdf_is_array(pymupdf.mupdf.pdf_dict_gets(layer, "VE")))
