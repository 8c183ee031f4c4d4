"""Finds transfer functions on a page of a PDF, which MuPDF leaves out without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymupdf

IGNORED = "ignoring transfer function"  # what MuPDF says of some of them, and docpipe of the others
_HARMLESS = ("Identity", "Default")
_DEPTH = 8  # of forms and patterns inside one another


class TransferFinder:
    """Finds the pages of an open PDF whose colours go through a transfer function.

    Pages share forms, patterns and graphics states, so that each of them is looked at once per document.
    """

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}  # by object number

    def on(self, page: pymupdf.Page) -> bool:
        """Tell whether a page may use a transfer function that changes colours."""
        mupdf = pymupdf.mupdf
        entry = mupdf.pdf_page_from_fz_page(page.this).obj()
        return self._in_resources(mupdf.pdf_dict_get_inheritable(entry, mupdf.pdf_new_name("Resources")), _DEPTH)

    def _in_resources(self, resources: Any, depth: int) -> bool:
        if any(_changes_colours(state) for state in _values(resources, "ExtGState")):
            return True
        inside = [part for kind in ("XObject", "Pattern") for part in _values(resources, kind)]
        return depth > 0 and any(self._in_part(part, depth) for part in inside)

    def _in_part(self, part: Any, depth: int) -> bool:
        number = pymupdf.mupdf.pdf_to_num(part)  # 0 for one that is no object of its own
        if number in self._known:
            return self._known[number]
        if number:
            self._known[number] = False  # while it is looked at, since forms may contain themselves
        found = self._in_resources(pymupdf.mupdf.pdf_dict_gets(part, "Resources"), depth - 1)
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
