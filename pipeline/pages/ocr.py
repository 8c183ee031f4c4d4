"""Reads the words of a page off its picture, with RapidOCR, which comes with the extra ``ocr``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.pages.renderer import decode_image
from pipeline.records import PageImage
from pipeline.words import Words

# In the package; named, because what RapidOCR does not find it downloads.
_WEIGHTS = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}
_APART = 0.5  # of the height of a line: blank between two parts of it from which on they are words of their own

Part = tuple[str, float, Sequence[Sequence[float]]]
"""Letters that stand together, how sure they are, and the corners of their box in pixels."""


def ocr_release() -> str:
    """Return name and release of the OCR, on which what it reads depends.

    Raises:
        UsageError: a package of it is not installed.
    """
    try:
        version("onnxruntime")  # RapidOCR finds out on the first page only
        return f"rapidocr {version('rapidocr')}"
    except PackageNotFoundError as error:
        raise UsageError(
            f"OCR needs RapidOCR and ONNX Runtime, found no package {error.name}; install docpipe with its extra "
            "'ocr', or 'pip install rapidocr onnxruntime'"
        ) from error


@cache
def ocr_reader() -> OcrReader:
    """Return the reader of this process, on one thread, as a renderer has.

    Raises:
        UsageError: RapidOCR is not installed, or is another release.
    """
    return OcrReader(threads=1)


class OcrReader:
    """Reads pages with RapidOCR and the weights in its package; nothing is downloaded.

    Args:
        threads: threads of its models; ``None`` for one per core.

    Raises:
        UsageError: RapidOCR is not installed, or is another release.
    """

    def __init__(self, threads: int | None = None) -> None:
        ocr_release()
        import rapidocr  # large, and few need it

        folder = Path(rapidocr.__file__).parent / "models"
        missing = [name for name in _WEIGHTS.values() if not (folder / name).is_file()]
        if missing:
            raise UsageError(f"OCR needs {missing[0]} of RapidOCR 3.10, found none in {folder}; install that release")
        params: dict[str, Any] = {f"{part}.model_path": str(folder / name) for part, name in _WEIGHTS.items()}
        params |= {"Global.return_word_box": True, "Global.log_level": "critical"}
        params["EngineConfig.onnxruntime.intra_op_num_threads"] = -1 if threads is None else threads
        self._read = rapidocr.RapidOCR(params=params)

    def words(self, page: PageImage) -> Words | None:
        """Read the words of a page, in the form of a text layer; ``None`` where it finds none.

        Args:
            page: the rendered page.
        """
        found = self._read(decode_image(page)[:, :, ::-1])  # colours in the order of OpenCV
        if found.txts is None:
            return None
        across, down = page.width_pt / page.width_px, page.height_pt / page.height_px
        lines, corners = [], []
        for text, parts in zip(found.txts, found.word_results, strict=True):
            words = list(words_of_line(text, parts))
            lines.append(" ".join(word for word, _ in words))
            for _, (x0, y0, x1, y1) in words:
                corners += [round(side, 2) for side in (x0 * across, y0 * down, x1 * across, y1 * down)]
        return Words("\n".join(lines), tuple(corners)) if lines else None


def words_of_line(text: str, parts: Sequence[Part]) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    """Yield the words of a line with their boxes ``x0, y0, x1, y1`` in pixels.

    RapidOCR divides a line at blanks, but one with letters of Chinese into single ones, and reads wide gaps without
    a blank. So parts are joined where neither a blank nor a gap is between them.

    Args:
        text: the line as it was read, with blanks.
        parts: its parts in the same order.
    """
    word, box, end = "", (0.0, 0.0, 0.0, 0.0), 0
    for letters, _, quad in parts:
        across, down = [float(x) for x, _ in quad], [float(y) for _, y in quad]
        mine = (min(across), min(down), max(across), max(down))
        start = text.index(letters, end)
        if word and (start > end or mine[0] - box[2] > _APART * (mine[3] - mine[1])):
            yield word, box
            word = ""
        box = (min(box[0], mine[0]), min(box[1], mine[1]), max(box[2], mine[2]), max(box[3], mine[3])) if word else mine
        word, end = word + letters, start + len(letters)
    if word:
        yield word, box
