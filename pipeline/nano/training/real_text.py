"""Crops of real pages: the manuals of Debian packages say where each of their characters stands."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pymupdf
import torch

from pipeline.nano.training.targets import CLASS_OF, IGNORE, character_targets
from pipeline.nano.training.text_pages import PIXELS_PER_POINT, TextBatch
from pipeline.nano.training.tower import cells_in_window_order, in_window_order
from pipeline.samples.text import MIDDLE

PACKAGES = "octave-doc gnuplot-doc asymptote-doc texlive-humanities-doc"
FOLDERS = ("octave", "gnuplot", "asymptote", "texlive-doc/latex", "texlive-doc/generic")
HELD_OUT_PACKAGES = "r-doc-pdf debmake-doc"
HELD_OUT_FOLDERS = ("../R/doc/manual", "debmake-doc")
_DOCUMENTS = Path("/usr/share/doc")
_CROPS = 4  # of a page
_FEWEST = 60  # characters of a crop
TRIES = 400  # pages that a batch is looked for on
_INK = 60  # of 255: differences of grey that are print


@cache
def real_pdfs(folders: tuple[str, ...]) -> tuple[Path, ...]:
    """The PDF files below folders of /usr/share/doc.

    Args:
        folders: folders that are searched.

    Raises:
        FileNotFoundError: there are none.
    """
    found = sorted(path for folder in folders for path in (_DOCUMENTS / folder).rglob("*.pdf"))
    if not found:
        raise FileNotFoundError(f"no PDF below {folders}; install {PACKAGES}, to measure {HELD_OUT_PACKAGES}")
    return tuple(found)


def real_batch(seed: int, crops: int, height: int, width: int, folders: tuple[str, ...] = FOLDERS) -> TextBatch:
    """``crops`` crops of ``height`` x ``width`` pixels from pages drawn by chance; the same seed, the same batch."""
    rng = random.Random(seed)
    pixels, patches, cells = [], [], []
    for _ in range(TRIES):
        for grey, table in real_crops(rng, rng.choice(real_pdfs(folders)), height, width):
            classes, x, y = table[:, 0].astype(np.int64), *table[:, 1:3].astype(np.float32).T
            targets = character_targets(classes, x, y, height, width)
            pixels.append(grey)
            patches.append(targets.patch)
            cells.append(targets.cell)
        if len(pixels) >= crops:
            return TextBatch(
                torch.from_numpy(np.stack(pixels[:crops])),
                in_window_order(torch.from_numpy(np.stack(patches[:crops]))),
                cells_in_window_order(torch.from_numpy(np.stack(cells[:crops]))),
            )
    raise ValueError(f"the PDFs below {folders} have too little text for {crops} crops")


def real_crops(
    rng: random.Random, path: Path, height: int, width: int
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]]:
    """Some crops of one page in grey, with their characters.

    Args:
        rng: source of chance.
        path: PDF file.
        height: of a crop in pixels.
        width: of a crop in pixels.

    Yields:
        Pixels ``[height, width]``, and for each character of the page ``[characters, 5]`` its class, the middle of its
        ink, x and y in pixels of the crop, the number of its line, and its code point.
    """
    scale = PIXELS_PER_POINT * rng.uniform(0.8, 1.15)
    with pymupdf.open(path) as document:
        page = document[rng.randrange(document.page_count)]
        page.remove_rotation()
        picture = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), colorspace=pymupdf.csGRAY, alpha=False)
        sheet = np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.stride)[:, : picture.width]
        table = _characters(page, scale, sheet)
    if picture.height < height or picture.width < width:
        return
    for _ in range(_CROPS):
        x, y = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
        moved = table - np.array([0, x, y, 0, 0])
        inside = (moved[:, 1] >= 0) & (moved[:, 1] < width) & (moved[:, 2] >= 0) & (moved[:, 2] < height)
        if int((inside & (table[:, 0] > 1)).sum()) >= _FEWEST:
            yield sheet[y : y + height, x : x + width].copy(), moved


def _characters(page: pymupdf.Page, scale: float, sheet: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The characters as :func:`real_crops` tells them; what is not upright or not in the set is not to be learnt."""
    rows, lines = [], count()
    for block in page.get_text("rawdict")["blocks"]:
        for line in block.get("lines", ()):
            number = next(lines)
            upright = abs(line["dir"][0] - 1) < 1e-3
            for span in line["spans"]:
                for char in span["chars"]:
                    x0, _, x1, _ = char["bbox"]
                    known = CLASS_OF.get(char["c"], IGNORE) if upright else IGNORE
                    base, size = char["origin"][1] * scale, span["size"] * scale
                    box = sheet[
                        max(0, int(base - 0.8 * size)) : int(base + 0.25 * size), int(x0 * scale) : int(x1 * scale) + 1
                    ]
                    middle = int(x0 * scale) + _ink_middle(box)
                    rows.append((known, middle, base - MIDDLE * size, number, ord(char["c"])))
    return np.array(rows or np.zeros((0, 5)))


def _ink_middle(box: npt.NDArray[np.uint8]) -> float:
    """Middle of the columns with ink in the box of a character, of the box where there is none."""
    inked = np.flatnonzero(np.ptp(box, axis=0) > _INK) if box.size else np.zeros(0)
    return float(inked[0] + inked[-1] + 1) / 2 if len(inked) else box.shape[1] / 2
