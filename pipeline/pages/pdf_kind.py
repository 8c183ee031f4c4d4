"""Recognises PDFs whose pages only stand for something else: dynamic forms and portfolios."""

from __future__ import annotations

import pymupdf

from pipeline.errors import PageError


def refuse_placeholder(document: pymupdf.Document) -> None:
    """Refuse an open PDF whose pages are not its content.

    Args:
        document: open PDF, not locked.

    Raises:
        PageError: it is a dynamic XFA form, or a portfolio.
    """
    catalog = document.pdf_catalog()
    if document.xref_get_key(catalog, "AcroForm/XFA")[0] != "null" and _is_dynamic(document, catalog):
        raise PageError(
            "open",
            "UnsupportedDocument",
            "it is a dynamic XFA form, whose only page asks to wait for Adobe Reader; print it to a PDF there, and "
            "read that",
        )
    if is_portfolio(document):
        inside = {number for number, _ in embedded_pdfs(document)}
        files = _embedded_files(document)
        others = ", ".join(name for number, name in files if number not in inside)
        raise PageError(
            "open",
            "UnsupportedDocument",
            f"it is a portfolio of {len(files)} files, and its own page is only a cover; the PDFs in it are "
            f"read as documents of their own{f'; not read: {others}' if others else ''}",
        )


def is_portfolio(document: pymupdf.Document) -> bool:
    """Tell whether an open PDF is a portfolio."""
    return bool(document.xref_get_key(document.pdf_catalog(), "Collection")[0] != "null")


def embedded_pdfs(document: pymupdf.Document) -> list[tuple[int, str]]:
    """List number and name of the PDFs inside a PDF."""
    return [(number, name) for number, name in _embedded_files(document) if _is_pdf(document, number, name)]


def _embedded_files(document: pymupdf.Document) -> list[tuple[int, str]]:
    return [(number, _file_name(document, number)) for number in range(document.embfile_count())]


def _file_name(document: pymupdf.Document, number: int) -> str:
    info = document.embfile_info(number)
    name = str(info.get("ufilename") or info.get("filename") or info.get("name") or f"file-{number + 1}")
    try:
        return name.encode("latin-1").decode()  # PyMuPDF reads these names, which are UTF-8, as Latin-1
    except UnicodeError:
        return name


def _is_pdf(document: pymupdf.Document, number: int, name: str) -> bool:
    return name.lower().endswith(".pdf") or b"%PDF-" in document.embfile_get(number)[:1024]


def _is_dynamic(document: pymupdf.Document, catalog: int) -> bool:
    """Tell whether an XFA form draws its pages itself: it says so, or the PDF around it has no form fields."""
    if document.xref_get_key(catalog, "NeedsRendering") == ("bool", "true"):
        return True
    kind, fields = document.xref_get_key(catalog, "AcroForm/Fields")
    if kind == "xref":
        fields = document.xref_object(int(fields.split()[0]), compressed=True)
    return document.page_count == 1 and fields.strip("[] \n") in ("", "null")
