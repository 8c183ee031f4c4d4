"""Draws pages of a PDF with PDFium, the second renderer. Only the render child imports this.

PDFium keeps global state, so only one thread of a process may use it.
"""

from __future__ import annotations

import numpy as np
import pypdfium2
from PIL import Image as PilImage

from pipeline.errors import PageError, Stage
from pipeline.pages.drawing import Drawing
from pipeline.pages.pdf_source import PdfSource

_FAILURES = (pypdfium2.PdfiumError, RuntimeError, ValueError, OSError, ArithmeticError)
_FORM_DEPTH = 15  # of forms in forms, in which pictures may lie


class PdfiumReader:
    """Reads an open PDF with PDFium.

    Args:
        source: the PDF.

    Raises:
        PageError: PDFium cannot open it.
    """

    def __init__(self, source: PdfSource) -> None:
        given = source.path if source.data is None else source.data
        try:
            self._document = pypdfium2.PdfDocument(given, password=source.password)
            self.pages = len(self._document)
            if self._document.get_formtype():
                self._document.init_forms()
        except _FAILURES as error:
            raise failure("open", "CorruptDocument", error) from error

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Return width and height of a page (0-based) as shown, in points; ``dpi`` is unchanged."""
        try:
            width, height = self._document.get_page_size(index)
        except _FAILURES as error:
            raise failure("render", "CorruptPage", error) from error
        return width, height, dpi

    def draw(self, index: int, width_px: int, height_px: int) -> Drawing:
        """Draw a page (0-based) at the given size."""
        try:
            page = self._document[index]
            width, height = page.get_size()
            if min(width, height) <= 0 or not 0.5 < width_px * height / (height_px * width) < 2:
                raise ValueError(f"the page is {width:g} by {height:g} pt when it is drawn")
            scale = max(width_px / width, height_px / height)
            picture = page.render(scale=scale, rev_byteorder=True, maybe_alpha=False).to_pil().convert("RGB")
        except _FAILURES as error:
            raise failure("render", "CorruptPage", error) from error
        if picture.size != (width_px, height_px):
            picture = picture.resize((width_px, height_px), PilImage.Resampling.BICUBIC)
        return Drawing(np.array(picture), "pdfium")

    def decodes_pictures(self, index: int) -> bool:
        """Tell whether PDFium decodes every picture on a page (0-based), and each shows something."""
        try:
            pictures = self._document[index].get_objects([pypdfium2.raw.FPDF_PAGEOBJ_IMAGE], max_depth=_FORM_DEPTH)
            return all(np.ptp(picture.get_bitmap().to_numpy()) > 0 for picture in pictures)
        except _FAILURES:
            return False


def failure(stage: Stage, error_type: str, error: Exception) -> PageError:
    """Describe a refusal of PDFium."""
    return PageError(stage, error_type, f"PDFium cannot read it: {error}")
