"""Pieces of other people's pages, with questions about the lines that are printed on them."""

from __future__ import annotations

import itertools
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pymupdf

from pipeline.errors import UsageError
from pipeline.pages.mupdf_calls import MUPDF_FAILURES
from pipeline.pages.text_layer import read_words
from pipeline.samples.line_questions import FORMS, absent_words, cuts
from pipeline.samples.questions import ABSENT, QuestionTruth
from pipeline.samples.text import Box

_WIDTH_PT, _HEIGHT_PT = 420.0, 280.0  # of a piece: 600 visual tokens at 144 dpi
_LARGEST_PT = 5_000.0  # side of a page; a plan on a larger one takes too much memory to draw
_MARGIN_PT = 4.0  # within which letters may be cut
_FEWEST, _MOST, _ABSENT = 3, 8, 2  # questions about a piece, and those about words that are not there
_TRIES = 500  # pages on which a piece is looked for
_INK_DPI = 72
_APART = 2  # heights of a line; what is printed further behind its end belongs to another
Boxes = npt.NDArray[np.float64]
"""``x0, y0, x1, y1`` of some words, ``[W, 4]`` in points."""


@dataclass(frozen=True)
class RealPage:
    """A piece of a page, as a PDF of its own.

    Attributes:
        seed: what it was drawn from.
        pdf: the document.
        width_pt: width of the piece.
        height_pt: height of the piece.
        questions: what is asked about it.
    """

    seed: int
    pdf: bytes
    width_pt: float
    height_pt: float
    questions: tuple[QuestionTruth, ...]


@dataclass(frozen=True)
class _Line:
    """The words of a line inside a piece, up to the line's end, and the box of each."""

    words: tuple[str, ...]
    boxes: Boxes

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def box_of(self, answer: str) -> Box:
        """Return the rectangle of the last words of the line."""
        mine = self.boxes[-len(answer.split(" ")) :]
        return Box(*map(float, (*mine[:, :2].min(0), *mine[:, 2:].max(0))))


def find_pdfs(places: Sequence[Path]) -> list[Path]:
    """Find PDF files.

    Args:
        places: files, and folders that are searched with all below them.

    Raises:
        UsageError: there are none.
    """
    folders = [place for place in places if place.is_dir()]
    files = [place for place in places if place not in folders]
    missing = [path for path in files if not path.is_file()]
    below = (path for folder in folders for path in folder.rglob("*") if path.suffix.lower() == ".pdf")
    found = sorted({*files, *(path for path in below if path.is_file())})
    if missing or not found:
        raise UsageError(f"expected PDF files, found none at {', '.join(map(str, missing or places)) or 'no place'}")
    return found


def make_real_page(seed: int, paths: Sequence[Path]) -> RealPage:
    """Cut a piece out of a page, both drawn by chance, and ask about its lines.

    Args:
        seed: any whole number; the same seed and files give the same piece.
        paths: PDF files with a text layer.

    Raises:
        UsageError: no page has enough lines, or a file is no PDF that MuPDF can read.
    """
    rng = random.Random(seed)
    for _ in range(_TRIES):
        page = _attempt(seed, rng, rng.choice(paths))
        if page is not None:
            return page
    raise UsageError(
        f"expected pages with a text layer, found none with {_FEWEST} lines to ask about among {_TRIES} of "
        f"{len(paths)} PDFs; name PDFs of running text"
    )


def _attempt(seed: int, rng: random.Random, path: Path) -> RealPage | None:
    try:
        with pymupdf.open(path) as source, pymupdf.open() as piece:
            if source.needs_pass or not source.page_count:
                return None
            number = rng.randrange(source.page_count)
            piece.insert_pdf(source, from_page=number, to_page=number, links=False, annots=False, widgets=False)
            page = piece[0]
            if page.rotation or max(page.rect.width, page.rect.height) > _LARGEST_PT:
                return None
            width, height = min(_WIDTH_PT, page.rect.width), min(_HEIGHT_PT, page.rect.height)
            x, y = rng.uniform(0, page.rect.width - width), rng.uniform(0, page.rect.height - height)
            cut = pymupdf.Rect(x, y, x + width, y + height)
            questions = _ask(rng, page, cut)
            if questions is None:
                return None
            left, top = page.cropbox_position
            page.set_cropbox(cut + (left, top, left, top))
            piece.set_metadata({})
            return RealPage(
                seed,
                piece.tobytes(garbage=4, deflate=True, no_new_id=True),
                page.rect.width,
                page.rect.height,
                questions,
            )
    except MUPDF_FAILURES as error:
        raise UsageError(f"{path}: expected a PDF that MuPDF can read: {error}; leave it out") from error


def _ask(rng: random.Random, page: pymupdf.Page, piece: pymupdf.Rect) -> tuple[QuestionTruth, ...] | None:
    """Ask about some lines of a piece, and about words not there; ``None`` where too few lines can be asked about."""
    picture = page.get_pixmap(dpi=_INK_DPI, alpha=False)
    found = read_words(page, np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.width, 3))
    if found is None:
        return None
    corners = np.array(found.corners).reshape(-1, 4)
    lines = list(_lines(found.text, corners, np.array(piece)))
    partly = (corners[:, :2] < piece.br).all(1) & (corners[:, 2:] > piece.tl).all(1)
    whole = " ".join(itertools.compress(found.text.replace("\n", " ").split(" "), partly))
    asked = [(line, rng.choice(every)) for line in lines if (every := cuts(line.text, whole))]
    if len(asked) < _FEWEST:
        return None
    asked = rng.sample(asked, min(_MOST, len(asked)))
    truths = []
    for number, (line, (begin, end)) in enumerate(asked, 1):
        answer = line.text[end + 1 :]
        question = rng.choice(FORMS).format(line.text[begin:end])
        truths.append(QuestionTruth(question, f"line{number}", answer, line.box_of(answer)))
    turned = {words for line, (begin, end) in asked if (words := absent_words(line.text[begin:end], whole)) is not None}
    absent = [rng.choice(FORMS).format(words) for words in rng.sample(sorted(turned), min(_ABSENT, len(turned)))]
    truths += [QuestionTruth(question, f"absent{number}", ABSENT, None) for number, question in enumerate(absent, 1)]
    return tuple(truths)


def _lines(text: str, corners: Boxes, piece: npt.NDArray[np.float64]) -> Iterator[_Line]:
    """Find the upright lines that end inside a piece of a page, with boxes as seen from its corner."""
    inner = piece + _MARGIN_PT * np.array([1, 1, -1, -1])
    inside = np.logical_and((corners[:, :2] >= inner[:2]).all(1), (corners[:, 2:] <= inner[2:]).all(1))
    begin = 0
    for line in text.split("\n"):
        words = line.split(" ")
        end = begin + len(words)
        out = np.flatnonzero(~inside[begin:end])
        first = int(out[-1]) + 1 if len(out) else 0  # what stands before it is cut off
        mine, begin = corners[begin + first : end], end
        if len(mine) > 1 and _is_even(mine) and not _is_followed(mine[-1], corners) and _is_plain(line):
            yield _Line(tuple(words[first:]), mine - np.tile(piece[:2], 2))


def _is_even(boxes: Boxes) -> bool:
    """Tell whether words stand beside each other on one line, with blanks between them and no gaps."""
    height = (boxes[:, 3] - boxes[:, 1]).min()
    gaps = boxes[1:, 0] - boxes[:-1, 2]
    return bool((boxes[:, 1].max() < boxes[:, 3].min()) and (gaps < height).all() and (gaps > -height / 2).all())


def _is_followed(last: npt.NDArray[np.float64], corners: Boxes) -> bool:
    """Tell whether other print stands so close behind a line that it seems to belong to it."""
    x0, y0, x1, y1 = last.tolist()
    height = y1 - y0
    beside = (corners[:, 1] < y1 - height / 3) & (corners[:, 3] > y0 + height / 3)
    return bool((beside & (corners[:, 0] > x0) & (corners[:, 0] < x1 + _APART * height)).any())


def _is_plain(text: str) -> bool:
    """Tell whether a text is what is printed: no characters that stand for unknown ones or for none."""
    return text.isprintable() and "\ufffd" not in text and unicodedata.normalize("NFKC", text) == text
