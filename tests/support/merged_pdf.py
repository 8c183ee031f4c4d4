"""Documents of several pages, put together from drawn ones of one page."""

from __future__ import annotations

from collections.abc import Iterable

import pymupdf


def merged(pages: Iterable[bytes]) -> pymupdf.Document:
    """One PDF with the pages of all of these, in order, for the caller to save and close."""
    whole = pymupdf.open()
    for page in pages:
        with pymupdf.open("pdf", page) as one:
            whole.insert_pdf(one)
    return whole
