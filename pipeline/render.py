"""Pages from files nobody vouches for, through a child process that can be killed."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import fsspec
import numpy as np
from PIL import Image as PilImage

from pipeline.errors import PageError, Stage
from pipeline.records import (
    AnswerSettings,
    Bundle,
    Document,
    Failure,
    Image,
    PageFailure,
    PageImage,
    PixelBudget,
    RenderedBundle,
)

_OPEN_DPI = 72  # opening does not depend on it


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """What the child may use: seconds to open a document, seconds a page, bytes of address space."""

    open_seconds: float = 60.0
    page_seconds: float = 60.0
    memory_bytes: int = 4 << 30


class RenderChild:
    """A process that opens and renders documents; it is started when needed and replaced when it had to be killed.

    Use it as a context manager, or call :meth:`close`.
    """

    def __init__(self, limits: RenderLimits | None = None) -> None:
        self.limits = limits or RenderLimits()
        self._process: subprocess.Popen[bytes] | None = None
        self._local: tuple[str, Path] | None = None  # uri and local copy of the document last fetched
        self._scratch: Path | None = None

    def __enter__(self) -> RenderChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process and delete local copies."""
        self._kill()
        self._forget()

    def count_pages(self, document: Document) -> int:
        """The number of pages, at least 1.

        Raises:
            PageError: the document cannot be opened.
        """
        header, _ = self._ask({"do": "open", "dpi": _OPEN_DPI}, document, self.limits.open_seconds, "open")
        return int(header["pages"])

    def sha256(self, document: Document) -> str:
        """SHA-256 of the document's bytes, in hex.

        Raises:
            PageError: the document cannot be read.
        """
        header, _ = self._ask({"do": "sha256", "dpi": _OPEN_DPI}, document, self.limits.open_seconds, "open")
        return str(header["sha256"])

    def measure(
        self, document: Document, pages: Sequence[int], dpi: int, budget: PixelBudget
    ) -> tuple[int | None, ...]:
        """Visual tokens of each page (1-based) without rendering it; ``None`` for a page that will fail.

        Raises:
            PageError: the document cannot be opened.
        """
        request = {"do": "measure", "indexes": [page - 1 for page in pages], **_size(dpi, budget)}
        header, _ = self._ask(request, document, self.limits.open_seconds, "open")
        return tuple(header["visual_tokens"])

    def render(
        self, document: Document, pages: Sequence[int], dpi: int, budget: PixelBudget
    ) -> Iterator[PageImage | PageFailure]:
        """Render pages (1-based) in the order given; a page that cannot be rendered costs that page only."""
        for page in pages:
            request = {"do": "render", "index": page - 1, **_size(dpi, budget)}
            seconds = self.limits.page_seconds + (self.limits.open_seconds if self._process is None else 0.0)
            try:
                header, data = self._ask(request, document, seconds, "render")
            except PageError as error:
                failure = Failure(error.stage, error.error_type, error.message)
                yield PageFailure(document.document_id, page, failure)
                continue
            header.pop("bytes")
            yield PageImage(document_id=document.document_id, page=page, data=data, **header)

    def _ask(self, request: dict[str, Any], document: Document, seconds: float, stage: Stage) -> tuple[Any, bytes]:
        """One request; the child is killed when it does not answer in time."""
        path = self._fetch(document)
        process = self._running()
        deadline = time.monotonic() + seconds
        try:
            if process.stdin is None or process.stdout is None:
                raise BrokenPipeError
            process.stdin.write(json.dumps({**request, "path": str(path)}).encode() + b"\n")
            process.stdin.flush()
            reader = _Pipe(process.stdout.fileno(), deadline)
            header = json.loads(reader.line())
            data = reader.take(header["bytes"])
        except TimeoutError as error:
            self._kill()
            raise PageError(
                stage, "RenderTimeout", f"not done within {seconds:g} s; the renderer was killed"
            ) from error
        except (BrokenPipeError, EOFError) as error:
            code = self._kill()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise PageError(stage, "RenderCrash", f"the renderer died ({how})") from error
        if "error_type" in header:
            raise PageError(header["stage"], header["error_type"], header["message"])
        return header, data

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._kill()
            command = [sys.executable, "-m", "pipeline.render_child", str(self.limits.memory_bytes)]
            # Every BLAS or OpenMP thread reserves address space that the limit would count.
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
            )
        return self._process

    def _kill(self) -> int:
        """Kill the child, if there is one; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.poll()
        if process.returncode is None:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return process.wait()

    def _fetch(self, document: Document) -> Path:
        """A local path of the document; remote ones are copied, one at a time."""
        fs, path = fsspec.url_to_fs(document.uri)
        if "file" in fs.protocol:
            return Path(path)
        if self._local is not None and self._local[0] == document.uri:
            return self._local[1]
        self._forget()
        self._scratch = Path(tempfile.mkdtemp(prefix="docpipe-"))
        target = self._scratch / "document"
        try:
            fs.get_file(path, str(target))
        except (OSError, ValueError) as error:
            raise PageError("open", "DocumentNotFound", f"{document.uri} cannot be fetched: {error}") from error
        self._local = (document.uri, target)
        return target

    def _forget(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._local, self._scratch = None, None


def _size(dpi: int, budget: PixelBudget) -> dict[str, Any]:
    return {"dpi": dpi, "budget": [budget.factor, budget.min_pixels, budget.max_pixels]}


class _Pipe:
    """Reads from a file descriptor until a deadline (``time.monotonic()``)."""

    def __init__(self, descriptor: int, deadline: float) -> None:
        self.descriptor, self.deadline, self.buffer = descriptor, deadline, bytearray()

    def line(self) -> bytes:
        while b"\n" not in self.buffer:
            self._more()
        end = self.buffer.index(b"\n") + 1
        return self._cut(end)

    def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._more()
        return self._cut(count)

    def _cut(self, count: int) -> bytes:
        out = bytes(self.buffer[:count])
        del self.buffer[:count]
        return out

    def _more(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
            raise TimeoutError
        chunk = os.read(self.descriptor, 1 << 20)
        if not chunk:
            raise EOFError
        self.buffer += chunk


def render_bundle(bundle: Bundle, child: RenderChild, settings: AnswerSettings) -> RenderedBundle:
    """Render every page a bundle needs, and hash the documents it opens."""
    images: list[PageImage] = []
    failures: list[PageFailure] = []
    sha256: dict[str, str] = {}
    for document in bundle.documents:
        pages = bundle.pages_of(document.document_id)
        if not pages:
            continue
        for rendered in child.render(document, pages, settings.dpi, settings.budget):
            if isinstance(rendered, PageImage):
                images.append(rendered)
            else:
                failures.append(rendered)
        try:
            sha256[document.document_id] = child.sha256(document)
        except PageError:
            continue  # the pages of a document that vanished have failed by themselves
    return RenderedBundle(bundle, tuple(images), tuple(failures), sha256)


def decode_image(image: PageImage) -> Image:
    """The pixels ``[height, width, 3]`` of a rendered page."""
    if image.encoding == "png":
        with PilImage.open(io.BytesIO(image.data)) as picture:
            return np.asarray(picture.convert("RGB"))
    return np.frombuffer(image.data, dtype=np.uint8).reshape(image.height_px, image.width_px, 3)
