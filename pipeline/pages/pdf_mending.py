"""Mends PDFs in memory: bytes before the header, and page trees that are slightly wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pymupdf

from pipeline.errors import PageError
from pipeline.pages.mupdf_calls import MUPDF_FAILURES
from pipeline.pages.mupdf_reader import open_mupdf
from pipeline.pages.pdf_source import PdfSource

_HEADER = b"%PDF-"
_INHERITED = ("Resources", "MediaBox", "CropBox", "Rotate")  # what pages may take from the nodes above them
_KEPT = ("OCProperties", "AcroForm")  # parts of a catalog that decide what its pages show
_TRAILER = -1  # by which PyMuPDF addresses it


def from_header(source: PdfSource) -> PdfSource | None:
    """Return a PDF without what stands before its header; ``None`` if nothing does, or there is no header."""
    raw = source.read()
    start = raw.find(_HEADER)
    return replace(source, data=raw[start:]) if start > 0 else None


def with_ending(source: PdfSource) -> PdfSource:
    """Return a PDF whose last object is closed, since MuPDF opens none that is cut within an object."""
    return replace(source, data=source.read() + b"\nendstream\nendobj\n")


def count_leaves(document: pymupdf.Document) -> int:
    """Count the leaves of the page tree, which may differ from the number of pages that the tree states.

    A kid that is missing counts, because it stands for a page that is lost; one that is listed twice is two pages.

    Args:
        document: the open PDF.

    Raises:
        PageError: the tree lists the same nodes too often.
    """
    return sum(1 for _ in _leaves(document))


def with_new_page_tree(source: PdfSource, passwords: Sequence[str]) -> PdfSource | None:
    """Return a PDF with the same pages in a new page tree; ``None`` if no page is found in it.

    If the tree leads to no page, or lists the same nodes too often, every object that calls itself a page counts once,
    in the order of the file.

    Args:
        source: the damaged PDF.
        passwords: user passwords to try.
    """
    try:
        document = open_mupdf(source)
        if document.needs_pass and not any(document.authenticate(password) for password in passwords):
            return None
        pages = _pages_of_tree(document) or [n for n in range(1, document.xref_length()) if _is_page(document, n)]
        if not pages:
            return None
        _plant(document, pages)
        data = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_NONE)
    except (PageError, *MUPDF_FAILURES):
        return None
    return replace(source, data=data, password=None)


def _pages_of_tree(document: pymupdf.Document) -> list[int]:
    """List the object numbers of the pages that the tree leads to; none if it lists too much again and again."""
    try:
        return [number for number in map(pymupdf.mupdf.pdf_to_num, _leaves(document)) if _is_page(document, number)]
    except PageError:
        return []


def _leaves(document: pymupdf.Document) -> Iterator[Any]:
    """Yield the leaves of the page tree in order, as often as it lists them; a node inside itself is passed over.

    Args:
        document: the open PDF.

    Raises:
        PageError: nodes that it lists again would make more pages than MuPDF takes, which is one for each object.
    """
    mupdf = pymupdf.mupdf
    trailer = mupdf.pdf_trailer(mupdf.pdf_document_from_fz_document(document.this))
    nodes: list[Any] = [mupdf.pdf_dict_gets(mupdf.pdf_dict_gets(trailer, "Root"), "Pages")]
    above, seen = set[int](), set[int]()  # numbers of the nodes around the present one, and of all with kids
    again, most = 0, document.xref_length()
    while nodes:
        node = nodes.pop()
        if isinstance(node, int):  # all below that node is done
            above.discard(node)
            continue
        number = mupdf.pdf_to_num(node)
        if number in above:
            continue
        kids = mupdf.pdf_dict_gets(node, "Kids")
        if not mupdf.pdf_is_array(kids):
            yield node
            continue
        count = mupdf.pdf_array_len(kids)
        if number in seen:
            again += 1 + count
            if again > most:
                raise PageError(
                    "open",
                    "CorruptDocument",
                    f"expected a page tree of at most {most} pages, one for each object, found one that lists the same "
                    "nodes again and again; print it to a PDF anew",
                )
        if number:  # 0 is no object of its own
            above.add(number)
            seen.add(number)
            nodes.append(number)
        nodes += [mupdf.pdf_array_get(kids, position) for position in reversed(range(count))]


def _is_page(document: pymupdf.Document, number: int) -> bool:
    return number > 0 and document.xref_get_key(number, "Type") == ("name", "/Page")


def _plant(document: pymupdf.Document, pages: Sequence[int]) -> None:
    """Give a PDF a new catalog and a flat tree of the given pages, of which some may be the same."""
    root, catalog = document.get_new_xref(), document.get_new_xref()
    for page in dict.fromkeys(pages):
        for key in _INHERITED:
            found = _inherited(document, page, key)
            if found is not None:
                document.xref_set_key(page, key, found)
        document.xref_set_key(page, "Parent", f"{root} 0 R")
    kids = " ".join(f"{page} 0 R" for page in pages)
    document.update_object(root, f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>")
    document.update_object(catalog, f"<</Type/Catalog/Pages {root} 0 R>>")
    for key in _KEPT:
        kind, value = document.xref_get_key(_TRAILER, f"Root/{key}")
        if kind in ("dict", "xref"):
            document.xref_set_key(catalog, key, value)
    document.xref_set_key(_TRAILER, "Root", f"{catalog} 0 R")


def _inherited(document: pymupdf.Document, page: int, key: str) -> str | None:
    """Find a value that a page takes from a node above it; ``None`` if it has one of its own, or there is none."""
    node, seen = page, set[int]()
    while node not in seen:
        seen.add(node)
        kind, value = document.xref_get_key(node, key)
        if kind != "null":
            return None if node == page else str(value)
        kind, parent = document.xref_get_key(node, "Parent")
        if kind != "xref":
            return None
        node = int(parent.split()[0])
    return None
