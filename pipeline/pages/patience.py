"""Decides how long a document that hangs or crashes its renderers is tried."""

from __future__ import annotations

from collections import Counter, defaultdict

from pipeline.errors import PageError
from pipeline.records import Failure, Renderer

_STRIKES = 3  # pages in a row that hang or crash MuPDF
HANGS = ("RenderTimeout", "RenderCrash")


class Patience:
    """Keeps the account of every document that a renderer works on.

    After three pages in a row that hang or crash MuPDF, PDFium alone draws the rest of a document. Once that hangs or
    crashes too, or the document has taken its time, its other pages fail without an attempt.

    Args:
        document_seconds: time for all pages of a document.
    """

    def __init__(self, document_seconds: float) -> None:
        self._document_seconds = document_seconds
        self._strikes = Counter[str]()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stuck: dict[str, PageError] = {}  # the error of PDFium, which is not tried again

    def renderer(self, document_id: str) -> Renderer:
        """Return the renderer to begin a page with."""
        return "pdfium" if self._strikes[document_id] >= _STRIKES else "mupdf"

    def may_try_pdfium(self, document_id: str) -> bool:
        """Tell whether PDFium should try a page on which MuPDF hung or crashed."""
        return document_id not in self._stuck

    def given_up(self, document_id: str) -> Failure | None:
        """Return why no further page of a document is tried; ``None`` while there is hope."""
        stuck = self._stuck.get(document_id)
        if stuck is not None and self.renderer(document_id) == "pdfium":
            return Failure(
                "render",
                stuck.error_type,
                f"not tried: {_STRIKES} pages in a row hung or crashed both renderers ({stuck.message})",
            )
        if self._seconds[document_id] > self._document_seconds:
            return Failure(
                "render",
                "DocumentTimeout",
                f"not tried: the pages before it took longer than {self._document_seconds:g} s together; raise "
                "--document-seconds to read on",
            )
        return None

    def strike(self, document_id: str, renderer: Renderer, error: PageError) -> None:
        """Count a page that hung or crashed a renderer, or a document that did so when it was opened."""
        if renderer == "pdfium":
            self._stuck[document_id] = error
        else:
            self._strikes[document_id] += _STRIKES if error.stage == "open" else 1

    def spend(self, document_id: str, seconds: float) -> None:
        """Count the time that a page took, in seconds."""
        self._seconds[document_id] += seconds

    def relieved(self, document_id: str) -> None:
        """Forget the pages in a row that hung, because MuPDF has drawn one."""
        if self._strikes[document_id] < _STRIKES:
            self._strikes.pop(document_id, None)
