"""Opens a PDF with the first reader that can, after mending what is known to stop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pymupdf

from pipeline.errors import PageError
from pipeline.pages.mupdf_calls import MUPDF_FAILURES
from pipeline.pages.mupdf_reader import MupdfReader, failure, open_mupdf
from pipeline.pages.pdf_encryption import certificate_needed, encrypted, without_encryption
from pipeline.pages.pdf_kind import embedded_pdfs, is_portfolio, refuse_placeholder
from pipeline.pages.pdf_mending import count_leaves, from_header, with_ending, with_new_page_tree
from pipeline.pages.pdf_source import PdfSource
from pipeline.pages.pdfium_reader import PdfiumReader

_FINAL = ("EncryptedDocument", "UnsupportedDocument")  # refusals that no mending changes


@dataclass(frozen=True, slots=True)
class OpenedPdf:
    """Holds what is known of an open PDF.

    Attributes:
        source: what the readers read, mended where needed.
        mupdf: the first renderer; ``None`` if it cannot open the PDF.
        is_repaired: whether it was seen to be damaged so far, so that content may be missing.
    """

    source: PdfSource
    mupdf: MupdfReader | None
    is_repaired: bool


def open_pdf(source: PdfSource, passwords: Sequence[str], trust_mupdf: bool = True) -> OpenedPdf:
    """Open a PDF; one that no renderer takes is mended in memory and tried again.

    Args:
        source: the PDF as it was found.
        passwords: user passwords to try.
        trust_mupdf: whether MuPDF may open it; without, PDFium does.

    Raises:
        PageError: no renderer can open it, or its pages are not its content.
    """
    if not trust_mupdf:
        return _with_pdfium(source, passwords)
    try:
        opened = _with_mupdf(source, passwords)
    except PageError as error:
        if error.error_type in _FINAL:
            raise
        return _mended(source, passwords, error)
    if opened.is_repaired:  # perhaps only because other bytes stand before the header
        shifted = from_header(source)
        try:
            moved = opened if shifted is None else _with_mupdf(shifted, passwords)
        except PageError:
            return opened
        return opened if moved.is_repaired else moved
    return opened


def member_of(source: PdfSource, members: Sequence[int], passwords: Sequence[str]) -> PdfSource:
    """Return a PDF inside portfolios.

    Args:
        source: the outermost PDF.
        members: number of the file in it, and of those in portfolios inside that; none for the PDF itself.
        passwords: user passwords to try.

    Raises:
        PageError: a PDF on the way cannot be opened, or lacks the file.
    """
    for number in members:
        _, document = _unlocked(source, passwords)
        try:
            source = PdfSource(source.path, document.embfile_get(number))
        except MUPDF_FAILURES as error:
            raise failure("open", "CorruptDocument", error) from error
    return source


def embedded_in(source: PdfSource, passwords: Sequence[str]) -> list[tuple[int, str]]:
    """List number and name of the PDFs inside a portfolio; other PDFs, and files that are none, have none."""
    try:
        _, document = _unlocked(source, passwords)
        return embedded_pdfs(document) if is_portfolio(document) else []
    except (PageError, *MUPDF_FAILURES):
        return []


def _unlocked(source: PdfSource, passwords: Sequence[str]) -> tuple[PdfSource, pymupdf.Document]:
    """Open a PDF with MuPDF, with the first password that fits if it needs one.

    Args:
        source: the PDF.
        passwords: user passwords to try.

    Raises:
        PageError: MuPDF cannot open it, or no password fits.
    """
    document = open_mupdf(source)
    if not document.needs_pass:
        return source, document
    plain = without_encryption(source)
    if plain is not None:
        return plain, open_mupdf(plain)
    for password in passwords:
        if document.authenticate(password):
            return replace(source, password=password), document
    found = "it needs a password, and none of the given ones fits" if passwords else "it needs a password"
    raise PageError("open", "EncryptedDocument", f"{found}; name it with --password-file, or decrypt the file first")


def _with_mupdf(source: PdfSource, passwords: Sequence[str]) -> OpenedPdf:
    source, document = _unlocked(source, passwords)
    try:
        refuse_placeholder(document)
        reader = MupdfReader(source, document)
        leaves = count_leaves(document)
    except MUPDF_FAILURES as error:
        raise failure("open", "CorruptDocument", error) from error
    if reader.pages < 1:
        raise PageError("open", "EmptyDocument", "it has no pages, or none that can be found")
    if leaves != reader.pages:
        raise PageError(
            "open", "CorruptDocument", f"its page tree states {reader.pages} pages, and {leaves} are found in it"
        )
    return OpenedPdf(source, reader, reader.is_repaired)


def _mended(source: PdfSource, passwords: Sequence[str], refusal: PageError) -> OpenedPdf:
    """Open a PDF that MuPDF refuses, from its header on, with an end, with a new page tree, or with PDFium."""
    for candidate in _mends(source, passwords):
        try:
            return replace(_with_mupdf(candidate, passwords), is_repaired=True)
        except PageError as error:
            if error.error_type in _FINAL:
                raise
    try:
        return _with_pdfium(source, passwords)
    except PageError as second:
        raise _final_refusal(source, refusal, second) from second


def _mends(source: PdfSource, passwords: Sequence[str]) -> Iterator[PdfSource]:
    """Yield mended forms of a PDF, each made only when the one before does not open."""
    replanted = with_new_page_tree(source, passwords)
    if replanted is not None:
        yield replanted
    for mend in (from_header, with_ending):
        mended = mend(source)
        if mended is None:
            continue
        yield mended
        replanted = with_new_page_tree(mended, passwords)
        if replanted is not None:
            yield replanted


def _with_pdfium(source: PdfSource, passwords: Sequence[str]) -> OpenedPdf:
    last: PageError | None = None
    for password in (source.password, *passwords):
        candidate = replace(source, password=password)
        try:
            reader = PdfiumReader(candidate)
        except PageError as error:
            last = error
            continue
        if reader.pages < 1:
            last = PageError("open", "EmptyDocument", "it has no pages, or none that can be found")
            continue
        return OpenedPdf(candidate, None, True)
    raise last if last is not None else PageError("open", "CorruptDocument", "PDFium was not tried")


def _final_refusal(source: PdfSource, refusal: PageError, second: PageError) -> PageError:
    """Choose the error that tells most about a PDF which no renderer opens."""
    raw = source.read()
    if encrypted(raw):
        why = (
            "it is encrypted for the holders of certificates"
            if certificate_needed(raw)
            else f"it is encrypted in a way that no renderer reads ({refusal.message}; {second.message})"
        )
        return PageError("open", "EncryptedDocument", f"{why}; decrypt it first")
    if b"%PDF-" not in raw and b" obj" not in raw:
        found = f"expected a PDF or an image; the file begins with {raw[:8]!r}"
        return PageError("open", "UnsupportedDocument", f"{found}; if a program opens it, print it to a PDF there")
    return PageError("open", refusal.error_type, f"{refusal.message}; {second.message}")
