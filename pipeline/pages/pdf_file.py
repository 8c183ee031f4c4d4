"""Reads pages of a PDF with the renderer that shows most of them; only the render child imports this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import PageError
from pipeline.pages.drawing import Drawing
from pipeline.pages.lost_content import (
    colours_lost,
    content_lost,
    differ,
    is_uniform,
    lacks,
    layers_ignored,
    letters_guessed,
    lost_for_all,
    picture_lost,
    picture_undecoded,
    shows_something,
)
from pipeline.pages.pdf_opening import open_pdf
from pipeline.pages.pdf_source import PdfSource
from pipeline.pages.pdfium_reader import PdfiumReader
from pipeline.records import Image


class PdfFile:
    """Reads an open PDF. MuPDF draws it; where that complains or leaves a page empty, PDFium draws it too.

    Args:
        source: the PDF.
        passwords: user passwords to try.
        trust_mupdf: whether MuPDF is used; without, PDFium draws alone.

    Raises:
        PageError: the file cannot be opened, needs a password, has no pages, or its pages are not its content.
    """

    def __init__(self, source: PdfSource, passwords: Sequence[str] = (), trust_mupdf: bool = True) -> None:
        opened = open_pdf(source, passwords, trust_mupdf)
        self._source = opened.source
        self._mupdf = opened.mupdf
        self._second: PdfiumReader | None = None
        self._was_mended = opened.is_repaired
        self.pages = self._mupdf.pages if self._mupdf is not None else self._pdfium().pages

    @property
    def is_repaired(self) -> bool:
        """Tell whether the file is damaged, so that content may be missing; some damage shows only at a later page."""
        return self._was_mended or (self._mupdf is not None and self._mupdf.is_repaired)

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Return width and height of a page (0-based) as shown, in points, turned and cropped; ``dpi`` is unchanged."""
        if self._mupdf is None:
            return self._pdfium().size(index, dpi)
        try:
            return self._mupdf.size(index, dpi)
        except PageError as first:
            try:
                return self._pdfium().size(index, dpi)
            except PageError:
                raise first from None

    def draw(self, index: int, width_px: int, height_px: int) -> Drawing:
        """Draw a page.

        Args:
            index: page number, counted from 0.
            width_px: width of the picture, in pixels.
            height_px: height of the picture, in pixels.

        Raises:
            PageError: no renderer can draw it, or content is missing from what they draw.
        """
        if self._mupdf is None:
            return self._checked(index, self._pdfium().draw(index, width_px, height_px))
        try:
            first = self._mupdf.draw(index, width_px, height_px)
        except PageError as error:
            if error.error_type != "CorruptPage":
                raise
            return self._checked(index, self._second_or(error, index, width_px, height_px))
        if not first.warnings and not is_uniform(first.image):
            return first
        try:
            second = self._pdfium().draw(index, width_px, height_px)
        except PageError:
            return self._checked(index, first)
        if self._shows_more(index, second.image, first):
            return Drawing(second.image, second.renderer, first.warnings, lost_for_all(first.warnings))
        if self._is_better(second.image, first):
            second = replace(second, warnings=first.warnings)
            return self._checked(index, second, lost_for_all(first.warnings))
        disputed = bool(first.warnings) and differ(first.image, second.image, letters_guessed(first.warnings))
        return self._checked(index, first, disputed)

    def _second_or(self, refusal: PageError, index: int, width_px: int, height_px: int) -> Drawing:
        """Draw a page with PDFium, or raise the refusal of MuPDF."""
        try:
            second = self._pdfium().draw(index, width_px, height_px)
        except PageError as error:
            raise PageError("render", "CorruptPage", f"{refusal.message}; {error.message}") from error
        return replace(second, warnings=(refusal.message,))

    def _shows_more(self, index: int, second: Image, first: Drawing) -> bool:
        """Tell whether PDFium's picture of a page is the better one."""
        if not picture_lost(first.warnings):
            return lacks(first.image, second)
        if not self._pdfium().decodes_pictures(index):
            return False
        return picture_undecoded(first.warnings) or lacks(first.image, second)

    @staticmethod
    def _is_better(second: Image, first: Drawing) -> bool:
        """Tell whether PDFium's picture of a page has the colours or layers that MuPDF's should have."""
        unfaithful = colours_lost(first.warnings) or layers_ignored(first.warnings)
        is_empty = shows_something(first.image) and not shows_something(second)
        return unfaithful and not is_empty and not picture_lost(first.warnings)

    def _checked(self, index: int, drawing: Drawing, disputed: bool = False) -> Drawing:
        """Refuse a page that lacks what it should show, and mark one that may lack a part or that is disputed."""
        image, said = drawing.image, "; ".join(drawing.warnings)
        by_mupdf = drawing.renderer == "mupdf"
        if by_mupdf and picture_lost(drawing.warnings):
            raise PageError("render", "CorruptPage", f"no renderer can draw a picture on it; MuPDF says: {said}")
        lost = by_mupdf and content_lost(drawing.warnings)
        unfaithful = colours_lost(drawing.warnings) or layers_ignored(drawing.warnings)
        if lost and not shows_something(image):
            raise PageError("render", "CorruptPage", f"no renderer can draw its content; MuPDF says: {said}")
        if is_uniform(image):
            if self.is_repaired:
                raise PageError(
                    "render", "DamagedDocument", "the document is damaged, and nothing is left of this page; restore it"
                )
            if self._mupdf is not None and self._mupdf.leaves_ink(index, image[0, 0].tolist()):
                raise PageError("render", "CorruptPage", "its content draws text or lines, but no renderer shows them")
        return replace(drawing, is_doubtful=lost or disputed or (by_mupdf and unfaithful))

    def _pdfium(self) -> PdfiumReader:
        if self._second is None:
            self._second = PdfiumReader(self._source)
        return self._second
