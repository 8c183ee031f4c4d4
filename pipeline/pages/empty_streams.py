"""Keeps MuPDF from complaining of streams in which nothing can be missing; only the render child imports this."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymupdf

_NOTHING_BYTES = 32  # the longest stream without content: under AES, a vector and a block of padding
_DEPTH = 8  # of forms inside one another


class EmptyStreams:
    """Looks at what draws the pages of one open PDF.

    Some writers compress nothing to nothing and still name the filter, for which MuPDF says that data is missing. What
    it says of a stream that has bytes stays as it is.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()  # object numbers

    def unfilter(self, page: pymupdf.Page) -> None:
        """Take the filters from streams without a byte, in memory, that the page, its forms or its notes consist of."""
        mupdf = pymupdf.mupdf
        entry = mupdf.pdf_page_from_fz_page(page.this).obj()
        contents = mupdf.pdf_dict_gets(entry, "Contents")
        for part in _items(contents) if mupdf.pdf_is_array(contents) else (contents,):
            self._look_at(page.parent, part, 0)
        resources = mupdf.pdf_dict_get_inheritable(entry, mupdf.pdf_new_name("Resources"))
        for form in (*_forms(resources), *_appearances(mupdf.pdf_dict_gets(entry, "Annots"))):
            self._look_at(page.parent, form, _DEPTH)

    def _look_at(self, document: pymupdf.Document, part: Any, depth: int) -> None:
        """Take the filters from a stream without a byte, and from forms inside it, down to some depth."""
        mupdf = pymupdf.mupdf
        number = mupdf.pdf_to_num(part)
        if number in self._known or not mupdf.pdf_is_stream(part):
            return
        self._known.add(number)
        is_filtered = not mupdf.pdf_is_null(mupdf.pdf_dict_gets(part, "Filter"))
        if is_filtered and mupdf.pdf_to_int(mupdf.pdf_dict_gets(part, "Length")) <= _NOTHING_BYTES:
            # MuPDF looks for the end of a stream whose /Length is wrong, so these are all bytes of it.
            if not document.xref_stream_raw(number):
                document.xref_set_key(number, "Filter", "null")
        if depth > 0:
            for form in _forms(mupdf.pdf_dict_gets(part, "Resources")):
                self._look_at(document, form, depth - 1)


def _forms(resources: Any) -> Iterator[Any]:
    mupdf = pymupdf.mupdf
    named = mupdf.pdf_dict_gets(resources, "XObject")
    for position in range(mupdf.pdf_dict_len(named)):
        part = mupdf.pdf_dict_get_val(named, position)
        if mupdf.pdf_to_name(mupdf.pdf_dict_gets(part, "Subtype")) == "Form":
            yield part


def _appearances(annotations: Any) -> Iterator[Any]:
    """Yield the normal appearances of notes and form fields, in each of their states."""
    mupdf = pymupdf.mupdf
    for annotation in _items(annotations):
        normal = mupdf.pdf_dict_gets(mupdf.pdf_dict_gets(annotation, "AP"), "N")
        if mupdf.pdf_is_stream(normal):
            yield normal
            continue
        for position in range(mupdf.pdf_dict_len(normal)):
            yield mupdf.pdf_dict_get_val(normal, position)


def _items(array: Any) -> Iterator[Any]:
    for position in range(pymupdf.mupdf.pdf_array_len(array)):
        yield pymupdf.mupdf.pdf_array_get(array, position)
