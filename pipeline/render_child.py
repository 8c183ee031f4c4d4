"""The process that opens files nobody vouches for. It may crash, hang or be killed; its parent lives on.

Protocol: one JSON request a line on standard input; for each, one JSON line on the pipe that standard output was,
followed by ``bytes`` raw bytes where the answer says so. MuPDF writes its complaints to standard output, so that is
moved first.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import json
import os
import resource
import signal
import sys
import time
import warnings
from typing import Any, Protocol

_PR_SET_PDEATHSIG = 1
_RAW_LIMIT_BYTES = 4_000_000
_PNG_LEVEL = 1
_DEFAULT_DPI = 72.0
_EXIF_ORIENTATION, _EXIF_FIRST_SIDEWAYS = 0x0112, 5
_IMAGE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def main() -> None:
    """Answer requests until standard input ends."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    server = _Server()
    for line in sys.stdin.buffer:
        header, data = server.answer(json.loads(line))
        pipe.write(json.dumps({**header, "bytes": len(data)}).encode() + b"\n")
        pipe.write(data)
        pipe.flush()


class _Open(Protocol):
    """An open document of any kind."""

    pages: int

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Width and height of a page (0-based) in points, and the resolution it is rendered at for ``dpi``."""

    def render(self, index: int, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Render one page, 0-based."""


class _Server:
    def __init__(self) -> None:
        self.path: str | None = None
        self.document: _Open | None = None

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        from pipeline.errors import PageError

        try:
            if request["do"] == "sha256":
                with open(request["path"], "rb") as file:
                    return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}, b""
            if self.document is None or self.path != request["path"]:
                self.document, self.path = None, None
                self.document = _open(request["path"], request["dpi"])
                self.path = request["path"]
            if request["do"] == "open":
                return {"pages": self.document.pages}, b""
            if request["do"] == "measure":
                return {"visual_tokens": [_measure(self.document, i, request) for i in request["indexes"]]}, b""
            if not 0 <= request["index"] < self.document.pages:
                raise PageError("render", "NoSuchPage", f"the document has {self.document.pages} pages")
            return self.document.render(request["index"], request)
        except PageError as error:
            return {"stage": error.stage, "error_type": error.error_type, "message": error.message}, b""
        except MemoryError:
            stage = "open" if self.document is None else "render"
            return {"stage": stage, "error_type": "RenderOutOfMemory", "message": "the memory limit was reached"}, b""


def _open(path: str, dpi: int) -> _Open:
    from pipeline.errors import PageError

    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise PageError("open", "DocumentNotFound", f"cannot be read: {error.strerror}") from error
    if not head:
        raise PageError("open", "EmptyDocument", "the file has no content")
    if b"%PDF-" in head:
        return _Pdf(path)
    if head.startswith(_IMAGE_MAGIC):
        return _Picture(path, dpi)
    raise PageError("open", "UnsupportedDocument", f"neither PDF, PNG, JPEG nor TIFF; it begins with {head[:8]!r}")


def _measure(document: _Open, index: int, request: dict[str, Any]) -> int | None:
    """Visual tokens of a page; ``None`` where it cannot be rendered anyway."""
    from pipeline.errors import PageError

    try:
        width_pt, height_pt, dpi = document.size(index, request["dpi"])
        return int(_fit(width_pt, height_pt, {**request, "dpi": dpi}).visual_tokens)
    except PageError:
        return None


class _Pdf:
    def __init__(self, path: str) -> None:
        import pymupdf

        from pipeline.errors import PageError

        self.failures = (pymupdf.FileDataError, pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError, LookupError)
        try:
            self.document = pymupdf.open(path, filetype="pdf")
            encrypted, pages = self.document.needs_pass, 0 if self.document.needs_pass else self.document.page_count
        except self.failures as error:
            raise PageError("open", "CorruptDocument", f"MuPDF cannot open it: {error}") from error
        if encrypted:
            raise PageError("open", "EncryptedDocument", "it needs a password; decrypt it first")
        if pages < 1:
            raise PageError("open", "EmptyDocument", "it has no pages, or none that can be found")
        self.pages = pages

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Width and height in points of the page as it is shown."""
        from pipeline.errors import PageError

        try:
            rect = self.document.load_page(index).rect
        except self.failures as error:
            raise PageError("render", "CorruptPage", f"MuPDF cannot read it: {error}") from error
        return rect.width, rect.height, dpi

    def render(self, index: int, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        import pymupdf

        from pipeline.errors import PageError

        started = time.perf_counter()
        try:
            page = self.document.load_page(index)
            width_pt, height_pt = page.rect.width, page.rect.height
            size = _fit(width_pt, height_pt, request)
            matrix = pymupdf.Matrix(size.width_px / width_pt, size.height_px / height_pt)
            # A pixel more on the far sides than asked is possible, never less; the clip below cuts it.
            pixmap = page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)
            image = _crop(pixmap, size.width_px, size.height_px)
        except self.failures as error:
            raise PageError("render", "CorruptPage", f"MuPDF cannot render it: {error}") from error
        return _encode(image, width_pt, height_pt, size, started)


class _Picture:
    """PNG and JPEG: one page; TIFF: one a frame. Points follow from the resolution the file states, else 72 dpi."""

    def __init__(self, path: str, dpi: int) -> None:
        from PIL import Image, UnidentifiedImageError

        from pipeline.errors import PageError

        warnings.simplefilter("error", Image.DecompressionBombWarning)
        self.failures = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError)
        self.bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
        self.dpi = dpi
        try:
            self.image = Image.open(path)
            self.pages = int(getattr(self.image, "n_frames", 1))
        except self.bombs as error:
            raise PageError("open", "PageTooLarge", f"the image has too many pixels: {error}") from error
        except self.failures as error:
            raise PageError("open", "CorruptDocument", f"Pillow cannot open it: {error}") from error

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Width and height in points as the file is shown; enlarging it beyond its own pixels would tell nothing."""
        from pipeline.errors import PageError

        try:
            self.image.seek(index)
            sideways = self.image.getexif().get(_EXIF_ORIENTATION, 1) >= _EXIF_FIRST_SIDEWAYS
        except self.failures as error:
            raise PageError("render", "CorruptPage", f"Pillow cannot read it: {error}") from error
        stated = self.image.info.get("dpi", (_DEFAULT_DPI, _DEFAULT_DPI))
        across, down = (float(value) if float(value) > 1 else _DEFAULT_DPI for value in stated)
        width_pt, height_pt = self.image.width * 72.0 / across, self.image.height * 72.0 / down
        if sideways:
            width_pt, height_pt = height_pt, width_pt
        return width_pt, height_pt, min(dpi, round(max(across, down)))

    def render(self, index: int, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        import numpy as np
        from PIL import Image, ImageOps

        from pipeline.errors import PageError

        started = time.perf_counter()
        width_pt, height_pt, dpi = self.size(index, request["dpi"])
        size = _fit(width_pt, height_pt, {**request, "dpi": dpi})
        try:
            upright = ImageOps.exif_transpose(self.image)
            picture = (upright if upright is not None else self.image).convert("RGB")
        except self.bombs as error:
            raise PageError("render", "PageTooLarge", f"the image has too many pixels: {error}") from error
        except self.failures as error:
            raise PageError("render", "CorruptPage", f"Pillow cannot decode it: {error}") from error
        resized = picture.resize((size.width_px, size.height_px), Image.Resampling.BICUBIC)
        return _encode(np.asarray(resized), width_pt, height_pt, size, started)


def _fit(width_pt: float, height_pt: float, request: dict[str, Any]) -> Any:
    from pipeline.geometry import fit_page
    from pipeline.records import PixelBudget

    return fit_page(width_pt, height_pt, request["dpi"], PixelBudget(*request["budget"]))


def _crop(pixmap: Any, width: int, height: int) -> Any:
    """The pixmap as ``[height, width, 3]``; a missing last row or column is repeated."""
    import numpy as np

    rows = np.frombuffer(pixmap.samples_mv, dtype=np.uint8).reshape(pixmap.height, pixmap.stride)
    image = rows[:height, : 3 * pixmap.width].reshape(min(height, pixmap.height), pixmap.width, 3)[:, :width]
    missing = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return image if not any(after for _, after in missing) else np.pad(image, missing, mode="edge")


def _encode(image: Any, width_pt: float, height_pt: float, size: Any, started: float) -> tuple[dict[str, Any], bytes]:
    """Raw pixels while they are few, else a fast PNG; never JPEG, which smears letters."""
    import numpy as np
    from PIL import Image

    raw = np.ascontiguousarray(image)
    encoding, data = "raw", b""
    if raw.nbytes <= _RAW_LIMIT_BYTES:
        data = raw.tobytes()
    else:
        buffer = io.BytesIO()
        Image.fromarray(raw).save(buffer, "PNG", compress_level=_PNG_LEVEL)
        encoding, data = "png", buffer.getvalue()
    header = {
        "width_pt": width_pt,
        "height_pt": height_pt,
        "dpi": size.dpi,
        "width_px": size.width_px,
        "height_px": size.height_px,
        "visual_tokens": size.visual_tokens,
        "encoding": encoding,
        "render_ms": (time.perf_counter() - started) * 1e3,
    }
    return header, data


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
