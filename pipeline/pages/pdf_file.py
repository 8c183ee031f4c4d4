"""Reads pages of a PDF with MuPDF, which may crash or hang; only the render child imports this."""

from __future__ import annotations

import numpy as np
import pymupdf

from pipeline.errors import PageError, Stage
from pipeline.records import Image

# The errors that PyMuPDF raises for a damaged file; any other error ends the process, and the page fails with it.
_FAILURES = (pymupdf.FileDataError, pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError, LookupError)


class PdfFile:
    """Reads an open PDF; one that MuPDF has to repair is accepted if it yields pages.

    Args:
        path: path of a local file.

    Raises:
        PageError: the file cannot be opened, needs a password or has no pages.
    """

    def __init__(self, path: str) -> None:
        try:
            self._document = pymupdf.open(path, filetype="pdf")
            encrypted = bool(self._document.needs_pass)
            self.pages = 0 if encrypted else int(self._document.page_count)
        except _FAILURES as error:
            raise _failure("open", "CorruptDocument", error) from error
        if encrypted:
            raise PageError("open", "EncryptedDocument", "it needs a password; decrypt it first")
        if self.pages < 1:
            raise PageError("open", "EmptyDocument", "it has no pages, or none that can be found")

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Return width and height of a page (0-based) as shown, in points, turned and cropped; ``dpi`` is unchanged."""
        try:
            rect = self._document.load_page(index).rect
            return float(rect.width), float(rect.height), dpi
        except _FAILURES as error:
            raise _failure("render", "CorruptPage", error) from error

    def render(self, index: int, width_px: int, height_px: int) -> Image:
        """Draw a page at the given size, uint8 ``[height, width, 3]``; the two scales may differ slightly."""
        try:
            page = self._document.load_page(index)
            matrix = pymupdf.Matrix(width_px / page.rect.width, height_px / page.rect.height)
            pixmap = page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)
            rows = np.frombuffer(pixmap.samples_mv, dtype=np.uint8).reshape(pixmap.height, pixmap.stride)
        except _FAILURES as error:
            raise _failure("render", "CorruptPage", error) from error
        # Rounding may add or remove a pixel at the right and bottom.
        image = rows[:height_px, : 3 * pixmap.width].reshape(-1, pixmap.width, 3)[:, :width_px]
        missing = ((0, height_px - image.shape[0]), (0, width_px - image.shape[1]), (0, 0))
        return np.pad(image, missing, mode="edge")  # always a copy, because the memory is freed with the pixmap


def _failure(stage: Stage, error_type: str, error: Exception) -> PageError:
    reason = str(error)
    if "alloc" in reason:  # MuPDF has no error class for this: "malloc (... bytes) failed", "std::bad_alloc"
        return PageError(stage, "RenderOutOfMemory", f"it takes more memory than a renderer may have: {reason}")
    return PageError(stage, error_type, f"MuPDF cannot read it: {reason}")
