"""Renders pages of untrusted files, in a child process that can be killed."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import astuple
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from PIL import Image as PilImage

from pipeline.errors import ModelError, PageError, Stage
from pipeline.output.faults import writing
from pipeline.pages.child_process import KILLED, ChildDied, ChildProcess
from pipeline.pages.limits import RenderLimits
from pipeline.pages.local_copy import LocalCopy
from pipeline.pages.passwords import Passwords
from pipeline.pages.patience import HANGS, Patience
from pipeline.records import Document, Failure, Image, PageFailure, PageImage, PixelBudget, Renderer
from pipeline.words import Words

Done = TypeVar("Done")

_MEASURED_AT_ONCE = 500  # pages per request, which has to fit into a pipe


class RenderChild:
    """Opens and renders documents in a process that is started when needed and replaced when killed.

    Use it as a context manager, or call :meth:`close`. It serves one thread; the kernel kills the process when the
    thread that started it ends.

    Args:
        limits: limits of the process; ``None`` for the default ones.
        passwords: passwords of encrypted documents; ``None`` for none.
    """

    def __init__(self, limits: RenderLimits | None = None, passwords: Passwords | None = None) -> None:
        self.limits = limits or RenderLimits()
        self.passwords = passwords or Passwords()
        self._patience = Patience(self.limits.document_seconds)
        self._process: ChildProcess | None = None
        self._open: tuple[Document, Renderer] | None = None  # the document that the process has open, and for whom
        self._pages = 0  # number of pages of the open document
        self._copy = LocalCopy()
        self._cancelled = False
        self._was_killed = False  # by somebody else, at the last request

    def __enter__(self) -> RenderChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process and delete local copies; the next request starts anew."""
        self._stop()
        self._copy.drop()

    def cancel(self) -> None:
        """End a request that another thread waits for, with :class:`~concurrent.futures.CancelledError`, for good."""
        self._cancelled = True
        if self._process is not None:
            self._process.interrupt()

    @property
    def pid(self) -> int | None:
        """Return the process id of the child, ``None`` while there is none."""
        return None if self._process is None else self._process.pid

    def count_pages(self, document: Document) -> int:
        """Count the pages of a document, at least 1.

        Args:
            document: document to open.

        Raises:
            PageError: the document cannot be opened.
            EngineError: the child cannot be started, or a remote document cannot be copied.
        """
        document_id = document.document_id
        try:
            return self._once_more(lambda: self._opened(document, self._patience.renderer(document_id)))
        except PageError as error:
            if error.error_type not in HANGS or self._patience.renderer(document_id) == "pdfium":
                raise
            self._patience.strike(document_id, "mupdf", error)
            return self._opened(document, "pdfium")

    def embedded_pdfs(self, document: Document) -> list[tuple[int, str]]:
        """List number and name of the PDFs inside a portfolio; other documents have none.

        Args:
            document: document to open.

        Raises:
            PageError: the document cannot be opened.
            EngineError: the child cannot be started, or a remote document cannot be copied.
        """
        header, _ = self._ask_of("embedded", document)
        return [(int(number), str(name)) for number, name in header["embedded"]]

    def sha256(self, document: Document) -> str:
        """Compute the SHA-256 of a document's bytes, in hex.

        Args:
            document: document to read.

        Raises:
            PageError: the document cannot be read.
            EngineError: the child cannot be started, or a remote document cannot be copied.
        """
        header, _ = self._ask_of("sha256", document)
        return str(header["sha256"])

    def measure(
        self, document: Document, pages: Sequence[int], dpi: int, budget: PixelBudget
    ) -> tuple[int | None, ...]:
        """Count the visual tokens of each page without rendering it; ``None`` for a page that will fail.

        Args:
            document: document to measure.
            pages: page numbers, counted from 1.
            dpi: resolution in dots per inch.
            budget: page sizes that the model takes.

        Raises:
            PageError: the document cannot be opened, or measuring it takes too long.
            EngineError: the child cannot be started, or a remote document cannot be copied.
            ModelError: the model family cannot be imported in the child.
        """
        found: list[int | None] = []
        for start in range(0, len(pages), _MEASURED_AT_ONCE):
            indexes = [page - 1 for page in pages[start : start + _MEASURED_AT_ONCE]]
            request = {"do": "measure", "indexes": indexes, **_target(dpi, budget)}
            found.extend(self._once_more(partial(self._measured, document, request)))
        return tuple(found)

    def _measured(self, document: Document, request: dict[str, Any]) -> list[int | None]:
        self.count_pages(document)
        header, _ = self._ask(request, self.limits.open_seconds, "open")
        return list(header["visual_tokens"])

    def annotate(self, document: Document, marks: Path, target: Path) -> None:
        """Write a copy of a PDF with highlights and notes; the document itself is only read.

        Args:
            document: a PDF.
            marks: JSON file with a list of marks, see :class:`pipeline.pages.marks.Mark`.
            target: file to write, whose name is UTF-8.

        Raises:
            PageError: the document is no PDF, cannot be opened, or cannot be written to.
            OutputError: the copy cannot be written.
            EngineError: the child cannot be started, or a remote document cannot be copied.
        """
        _, copy = self._ask_of("annotate", document, marks=str(marks))
        with writing(target):
            target.write_bytes(copy)

    def render(
        self, document: Document, pages: Sequence[int], dpi: int, budget: PixelBudget | None
    ) -> Iterator[PageImage | PageFailure]:
        """Render pages in the given order; a page that cannot be rendered fails alone.

        If the document cannot be opened, all remaining pages fail without another attempt.

        Args:
            document: document to render.
            pages: page numbers, counted from 1.
            dpi: resolution in dots per inch.
            budget: page sizes that the model takes; ``None`` for a picture that people look at, and no model.

        Raises:
            EngineError: the child cannot be started, or a remote document cannot be copied.
            ModelError: the model family cannot be imported in the child.
        """
        unopened: Failure | None = None
        for page in pages:
            failure = unopened or self._patience.given_up(document.document_id)
            if failure is not None:
                yield PageFailure(document.document_id, page, failure)
                continue
            try:
                yield self._drawn(document, page, _target(dpi, budget))
            except PageError as error:
                failure = Failure(error.stage, error.error_type, error.message)
                unopened = failure if error.stage == "open" else None
                yield PageFailure(document.document_id, page, failure)

    def _drawn(self, document: Document, page: int, target: dict[str, Any]) -> PageImage:
        """Draw a page; PDFium tries one on which MuPDF hangs or crashes."""
        patience, document_id = self._patience, document.document_id
        first, began = patience.renderer(document_id), time.monotonic()
        try:
            image = self._once_more(lambda: self._drawn_by(first, document, page, target))
            patience.relieved(document_id)
            return image
        except PageError as error:
            if error.error_type not in HANGS:
                raise
            patience.strike(document_id, first, error)
            if first == "pdfium" or not patience.may_try_pdfium(document_id):
                raise
            try:
                said = f"MuPDF: {error.message}"
                return self._once_more(lambda: self._drawn_by("pdfium", document, page, target, said))
            except PageError as second:
                if second.error_type in HANGS:
                    patience.strike(document_id, "pdfium", second)
                raise PageError(
                    error.stage, error.error_type, f"MuPDF: {error.message}; PDFium: {second.message}"
                ) from second
        finally:
            patience.spend(document_id, time.monotonic() - began)

    def _drawn_by(
        self, renderer: Renderer, document: Document, page: int, target: dict[str, Any], warning: str | None = None
    ) -> PageImage:
        self._opened(document, renderer)
        header, data = self._ask({"do": "render", "index": page - 1, **target}, self.limits.page_seconds, "render")
        said = "\n".join(filter(None, (warning, header.pop("warnings"))))
        words = Words.from_json(header.pop("words"))
        return PageImage(
            document_id=document.document_id, page=page, data=data, warnings=said or None, words=words, **header
        )

    def _opened(self, document: Document, renderer: Renderer) -> int:
        """Have the child open a document, and return its number of pages."""
        if self._process is None or not self._process.alive() or self._open != (document, renderer):
            self._open = None
            request = {**self._request("open", document), "trust_mupdf": renderer == "mupdf"}
            header, _ = self._ask(request, self.limits.open_seconds, "open")
            self._open, self._pages = (document, renderer), int(header["pages"])
        return self._pages

    def _once_more(self, work: Callable[[], Done]) -> Done:
        """Do something again, once, if somebody else killed the child, which says nothing about the document."""
        try:
            return work()
        except PageError:
            if not self._was_killed:
                raise
        return work()

    def _ask_of(self, do: str, document: Document, **more: str) -> tuple[dict[str, Any], bytes]:
        """Ask for what the child opens the document anew for."""
        request = {**self._request(do, document), **more}
        return self._once_more(lambda: self._ask(request, self.limits.open_seconds, "open"))

    def _request(self, do: str, document: Document) -> dict[str, Any]:
        return {
            "do": do,
            "path": str(self._copy.of(document)),
            "listed": self._copy.listed(document),
            "members": list(document.members),
            "passwords": self.passwords.of(document.path),
        }

    def _ask(self, request: dict[str, Any], seconds: float, stage: Stage) -> tuple[dict[str, Any], bytes]:
        self._was_killed = False
        try:
            if self._process is None or not self._process.alive():
                self._stop()
                self._process = ChildProcess(self.limits.memory_bytes)
            if self._cancelled:
                raise CancelledError
            header, data = self._process.ask(request, seconds)
        except TimeoutError as error:
            raise PageError(
                stage, "RenderTimeout", f"not done within {seconds:g} s; the renderer was killed"
            ) from error
        except ChildDied as error:
            if self._cancelled:
                raise CancelledError from error
            self._was_killed = str(error) == KILLED
            raise PageError(stage, "RenderCrash", f"the renderer died ({error})") from error
        if "model_error" in header:
            raise ModelError(f"in the renderer: {header['model_error']}")
        if "error_type" in header:
            if header["error_type"] == "RenderOutOfMemory":
                self._stop()  # memory left behind by a failed allocation would be missing for the next page
            raise PageError(header["stage"], header["error_type"], header["message"])
        return header, data

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._process, self._open = None, None


def _target(dpi: int, budget: PixelBudget | None) -> dict[str, Any]:
    return {"dpi": dpi, "budget": None if budget is None else astuple(budget)}


def decode_image(image: PageImage) -> Image:
    """Return the pixels of a rendered page, uint8 ``[height, width, 3]``, to be read only."""
    if image.encoding == "png":
        with PilImage.open(io.BytesIO(image.data)) as picture:
            return np.asarray(picture.convert("RGB"))
    return np.frombuffer(image.data, dtype=np.uint8).reshape(image.height_px, image.width_px, 3)
