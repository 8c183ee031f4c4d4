"""Answers the requests to the render child: open, hash, measure, render or annotate."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image as PilImage

from pipeline.errors import ModelError, PageError, Stage
from pipeline.families.base import PagePixels
from pipeline.families.registry import family_at
from pipeline.pages.annotating import annotate
from pipeline.pages.drawing import OpenFile
from pipeline.pages.for_people import fit_for_people
from pipeline.pages.image_file import ImageFile
from pipeline.pages.image_kinds import image_kind
from pipeline.pages.lost_content import is_uniform
from pipeline.pages.pdf_file import PdfFile
from pipeline.pages.pdf_opening import embedded_in, member_of
from pipeline.pages.pdf_source import PdfSource
from pipeline.pages.tiff_file import TiffFile
from pipeline.pages.unchanged import check_unchanged
from pipeline.records import Image, PixelBudget

_HEAD_BYTES = 64
_RAW_LIMIT_BYTES = 4_000_000
_PNG_LEVEL = 1

Answer = tuple[dict[str, Any], bytes]


class PageServer:
    """Answers requests about one file after another; the last one stays open."""

    def __init__(self) -> None:
        self._file: OpenFile | None = None
        self._listed: tuple[str, list[Any] | None] = "", None

    def answer(self, request: dict[str, Any]) -> Answer:
        """Return the header and data that answer a request.

        For a fault of the document, the header has ``error_type``; for one of the model family, ``model_error``.
        """
        stage: Stage = "render" if request["do"] == "render" else "open"
        try:
            return self._answer(request)
        except PageError as error:
            return _refusal(error.stage, error.error_type, error.message)
        except ModelError as error:
            return {"model_error": str(error)}, b""
        except MemoryError:
            return _refusal(stage, "RenderOutOfMemory", "it takes more memory than a renderer may have")
        except FileNotFoundError:
            return _refusal(stage, "DocumentNotFound", "the file is gone since it was listed")
        except OSError as error:
            return _refusal(stage, "DocumentUnreadable", f"the file cannot be read: {error.strerror or error}")

    def _answer(self, request: dict[str, Any]) -> Answer:
        if "path" in request:
            check_unchanged(request["path"], request["listed"])  # first, since opening a pipe would wait for its writer
        if request["do"] == "sha256":
            return {"sha256": _sha256(request)}, b""
        if request["do"] == "embedded":
            return {"embedded": embedded_in(_source(request), request["passwords"])}, b""
        if request["do"] == "annotate":
            return {}, annotate(_source(request), request["passwords"], request["marks"])
        if request["do"] == "open":
            self._file = None
            self._file = _open(request)
            self._listed = request["path"], request["listed"]
            check_unchanged(*self._listed)
            return {"pages": self._file.pages}, b""
        if self._file is None:
            raise ValueError("no file is open; send an open request first")
        budget = None if request["budget"] is None else PixelBudget(*request["budget"])
        if request["do"] == "measure":
            tokens = [_visual_tokens(self._file, index, request["dpi"], budget) for index in request["indexes"]]
            return {"visual_tokens": tokens}, b""
        answer = _render(self._file, request["index"], request["dpi"], budget)
        check_unchanged(*self._listed)  # what was drawn may be of both
        return answer


def _refusal(stage: Stage, error_type: str, message: str) -> Answer:
    return {"stage": stage, "error_type": error_type, "message": message}, b""


def _open(request: dict[str, Any]) -> OpenFile:
    """Open a file by its content, because names may be wrong; what is no image goes to the PDF readers."""
    path = request["path"]
    if request["members"]:
        return PdfFile(_source(request), request["passwords"], request["trust_mupdf"])
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise PageError("open", "EmptyDocument", "the file has no content")
    if kind := image_kind(head):
        if not request["trust_mupdf"]:
            raise PageError("open", "UnsupportedDocument", "PDFium reads no images")
        return TiffFile(path) if kind == "TIFF" else ImageFile(path, kind)
    return PdfFile(_source(request), request["passwords"], request["trust_mupdf"])


def _source(request: dict[str, Any]) -> PdfSource:
    return member_of(PdfSource(request["path"]), request["members"], request["passwords"])


def _sha256(request: dict[str, Any]) -> str:
    if request["members"]:
        return hashlib.sha256(_source(request).read()).hexdigest()
    with open(request["path"], "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fit(file: OpenFile, index: int, dpi: int, budget: PixelBudget | None) -> tuple[float, float, PagePixels]:
    if not 0 <= index < file.pages:
        raise PageError("render", "NoSuchPage", f"page {index + 1} was asked for, the document has {file.pages}")
    width_pt, height_pt, used = file.size(index, dpi)
    if not (width_pt > 0 and height_pt > 0):
        raise PageError("render", "CorruptPage", f"expected a page with a size, found {width_pt:g} by {height_pt:g} pt")
    if budget is None:
        return width_pt, height_pt, fit_for_people(width_pt, height_pt, used)
    return width_pt, height_pt, family_at(budget.family).fit_page(width_pt, height_pt, used, budget)


def _visual_tokens(file: OpenFile, index: int, dpi: int, budget: PixelBudget | None) -> int | None:
    """Return the visual tokens of a page, ``None`` for one that cannot be rendered."""
    try:
        return _fit(file, index, dpi, budget)[2].visual_tokens
    except PageError:
        return None


def _render(file: OpenFile, index: int, dpi: int, budget: PixelBudget | None) -> Answer:
    started = time.perf_counter()
    width_pt, height_pt, size = _fit(file, index, dpi, budget)
    drawing = file.draw(index, size.width_px, size.height_px)
    encoding, data = _encode(drawing.image)
    header = {
        "width_pt": width_pt,
        "height_pt": height_pt,
        "dpi": size.dpi,
        "width_px": size.width_px,
        "height_px": size.height_px,
        "visual_tokens": size.visual_tokens,
        "encoding": encoding,
        "renderer": drawing.renderer,
        "warnings": "\n".join(drawing.warnings) or None,
        "is_repaired": file.is_repaired,
        "is_doubtful": drawing.is_doubtful,
        "blank": is_uniform(drawing.image),
        "words": None if drawing.words is None else asdict(drawing.words),
        "render_ms": (time.perf_counter() - started) * 1e3,
    }
    return header, data


def _encode(image: Image) -> tuple[str, bytes]:
    """Encode a small image as raw pixels, a larger one as a fast PNG; JPEG would blur letters."""
    if image.nbytes <= _RAW_LIMIT_BYTES:
        return "raw", image.tobytes()
    buffer = io.BytesIO()
    PilImage.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return "png", buffer.getvalue()
