"""Draws pages of a PDF with MuPDF and keeps its complaints; only the render child imports this."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pymupdf

from pipeline.errors import PageError, Stage
from pipeline.pages.damaged_pictures import DamagedPictures
from pipeline.pages.drawing import Drawing
from pipeline.pages.empty_streams import EmptyStreams
from pipeline.pages.left_out import LeftOut
from pipeline.pages.lost_content import letters_guessed
from pipeline.pages.mupdf_calls import MUPDF_FAILURES, complaints, forget_complaints
from pipeline.pages.pdf_source import PdfSource
from pipeline.pages.text_layer import read_words
from pipeline.pages.turning import to_displayed
from pipeline.records import Image
from pipeline.words import Words

_HIDDEN_TEXT = 3  # text rendering mode of the words that lie invisibly behind a scan
_ALIKE = 40.0  # of 255; colours that differ by less cannot be told apart, or were converted differently


class MupdfReader:
    """Reads an open PDF with MuPDF.

    MuPDF keeps what it has decoded, and complains only the first time. Once a page has complaints, the document is
    therefore opened anew for each further page.

    Args:
        source: the PDF.
        document: the same, already open.
    """

    def __init__(self, source: PdfSource, document: pymupdf.Document) -> None:
        self._source = source
        self._document = document
        self._said: dict[int, list[str]] = defaultdict(list)  # complaints of measuring, by page
        self._complained = False
        self._was_repaired = False  # before it was opened anew
        self._left_out = LeftOut()
        self._damaged = DamagedPictures()
        self._empty = EmptyStreams()
        self.pages = int(document.page_count)

    @property
    def is_repaired(self) -> bool:
        """Tell whether MuPDF had to repair the document, at its opening or for a page that it has met since."""
        return self._was_repaired or bool(self._document.is_repaired)

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Return width and height of a page (0-based) as shown, in points, turned and cropped; ``dpi`` is unchanged."""
        forget_complaints()
        try:
            rect = self._document.load_page(index).rect
            return float(rect.width), float(rect.height), dpi
        except MUPDF_FAILURES as error:
            raise failure("render", "CorruptPage", error) from error
        finally:
            self._said[index] += complaints()

    def draw(self, index: int, width_px: int, height_px: int) -> Drawing:
        """Draw a page (0-based) at the given size; the two scales may differ slightly."""
        if self._complained:
            self._open_anew()
        forget_complaints()
        try:
            page = self._document.load_page(index)
            self._empty.unfilter(page)
            found = [*self._left_out.of(page), *self._damaged.of(page)]
            matrix = pymupdf.Matrix(width_px / page.rect.width, height_px / page.rect.height)
            pixmap = page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)
            rows = np.frombuffer(pixmap.samples_mv, dtype=np.uint8).reshape(pixmap.height, pixmap.stride)
        except MUPDF_FAILURES as error:
            self._complained = True
            raise failure("render", "CorruptPage", error, complaints()) from error
        # Rounding may add or remove a pixel at the right and bottom.
        image = rows[:height_px, : 3 * pixmap.width].reshape(-1, pixmap.width, 3)[:, :width_px]
        missing = ((0, height_px - image.shape[0]), (0, width_px - image.shape[1]), (0, 0))
        warnings = list(dict.fromkeys(self._said.pop(index, []) + found + complaints()))
        self._complained = self._complained or bool(warnings)
        # Padding always copies, which is needed because the memory is freed with the pixmap.
        picture = np.pad(image, missing, mode="edge")
        return Drawing(picture, "mupdf", tuple(warnings), words=_words(page, picture, warnings))

    def leaves_ink(self, index: int, paper: Sequence[int]) -> bool:
        """Tell whether the content of a page draws text or lines that should be seen on paper of the given colour.

        What has the colour of the paper, or is invisible on purpose, does not count; nor do pictures, which may show
        blank paper.

        Args:
            index: page number, counted from 0.
            paper: red, green and blue of the paper, in 0..255.
        """
        try:
            page = self._document.load_page(index)
            whole = (page.rect * ~to_displayed(page)).normalize()  # what is listed is on the page before it is turned
            texts = [trace for trace in page.get_texttrace() if whole.intersects(trace["bbox"])]
            drawings = [drawing for drawing in page.get_drawings() if whole.intersects(drawing["rect"])]
        except MUPDF_FAILURES:
            return True  # it has content, even if that cannot be listed
        inks = [ink for drawing in drawings for ink in (drawing.get("color"), drawing.get("fill")) if ink is not None]
        inks += [trace["color"] for trace in texts if _has_letters(trace)]
        return any(not _alike(ink, paper) for ink in inks)

    def _open_anew(self) -> None:
        document = open_mupdf(self._source)
        self._was_repaired = self.is_repaired
        self._document.close()
        self._document, self._empty = document, EmptyStreams()


def open_mupdf(source: PdfSource) -> pymupdf.Document:
    """Open a PDF with MuPDF; one that needs another password is returned locked.

    Args:
        source: the PDF.

    Raises:
        PageError: MuPDF cannot open it, or takes it for another kind of document.
    """
    forget_complaints()
    try:
        document = pymupdf.open(source.path, stream=source.data, filetype="pdf")
        if document.needs_pass and source.password is not None:
            document.authenticate(source.password)
    except MUPDF_FAILURES as error:
        raise failure("open", "CorruptDocument", error, complaints()) from error
    if not document.is_pdf:
        found = (document.metadata or {}).get("format") or "another format"
        raise PageError("open", "UnsupportedDocument", f"expected a PDF or an image, found {found}; convert it to PDF")
    return document


def failure(stage: Stage, error_type: str, error: Exception, said: list[str] | None = None) -> PageError:
    """Describe a refusal of MuPDF, in its own words."""
    reason = "; ".join(dict.fromkeys([str(error), *(said or [])]))
    if "alloc" in reason:  # MuPDF has no error class for this: "malloc (... bytes) failed", "std::bad_alloc"
        return PageError(stage, "RenderOutOfMemory", f"it takes more memory than a renderer may have: {reason}")
    return PageError(stage, error_type, f"MuPDF cannot read it: {reason}")


def _words(page: pymupdf.Page, picture: Image, warnings: Sequence[str]) -> Words | None:
    """Read the text layer of a page; ``None`` where MuPDF cannot, or has to guess the letters."""
    if letters_guessed(warnings):
        return None
    try:
        return read_words(page, picture)
    except MUPDF_FAILURES:
        return None


def _has_letters(trace: dict[str, Any]) -> bool:
    """Tell whether a run of text has letters that are not hidden on purpose."""
    letters = any(chr(char[0]).strip() for char in trace["chars"])
    return letters and trace["type"] != _HIDDEN_TEXT and trace["opacity"] > 0


def _alike(ink: Sequence[float], paper: Sequence[int]) -> bool:
    """Tell whether an ink (grey, RGB or CMYK, in 0..1) has nearly the colour of the paper (RGB, in 0..255)."""
    if len(ink) == 4:
        ink = [(1 - value) * (1 - ink[3]) for value in ink[:3]]
    rgb = list(ink) * 3 if len(ink) == 1 else list(ink)
    return all(abs(255 * value - other) <= _ALIKE for value, other in zip(rgb, paper, strict=True))
