"""Compares pages as docpipe draws them with poppler's and PDFium's pictures of the same pages.

    python benchmarks/renderers.py DIR [--pages 1] [--out table.tsv] [--pictures DIR] [--jobs 2] [--drawn-right FILE...]

needs pdftoppm (Debian: poppler-utils). The first pages of every PDF below DIR are drawn by docpipe's render child, with
whatever that does about damage, and by the two others. A page whose picture differs from both of theirs by more than
20 grey levels on average is listed, with what docpipe makes of it: ``read`` pages would be answered; ``doubtful`` ones
need review; ``failed`` and ``blank`` ones never reach the model. The exit code is 1 if a page is read that differs from
both, unless somebody looked at the three pictures, found docpipe's right and named the file with ``--drawn-right``.

Each PDF is written to ``--out`` as soon as it is compared, and PDFs that are in there are not drawn again, so that a
run that was stopped goes on. ``--pictures`` takes the three pictures of listed pages, side by side.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from tqdm import tqdm

from pipeline.errors import PageError
from pipeline.pages.limits import RenderLimits
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Document, PageFailure, PageImage, PixelBudget

_BUDGET = PixelBudget(28, 3136, 28 * 28 * 1024, "pipeline.families.qwen2_5_vl")
_DPI = 72
_GREY_LEVELS = 20.0
_SECONDS = 30
_LONG_SIDE_PX = 1000  # of the pictures of the others, which are brought to the size of docpipe's
_DRAW_WITH_PDFIUM = """
import sys, pypdfium2
document = pypdfium2.PdfDocument(sys.argv[1])
if document.get_formtype():
    document.init_forms()
page = document[int(sys.argv[2]) - 1]
scale = int(sys.argv[4]) / max(page.get_size())
page.render(scale=scale, rev_byteorder=True).to_pil().convert("L").save(sys.argv[3])
"""
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Compared:
    """Holds what became of a page; differences are mean grey levels, ``None`` where a picture is missing."""

    path: Path
    page: int
    outcome: str
    poppler: float | None
    pdfium: float | None
    why: str

    @property
    def stands_alone(self) -> bool:
        """True if both other pictures exist and differ from docpipe's."""
        return all(value is not None and value > _GREY_LEVELS for value in (self.poppler, self.pdfium))

    def line(self) -> str:
        """Return a line of tab-separated values."""
        shown = ["-" if value is None else f"{value:.2f}" for value in (self.poppler, self.pdfium)]
        return "\t".join([str(self.path), str(self.page), self.outcome, *shown, " ".join(self.why.split())])


def main() -> int:
    """Compare, print a table and return the exit code."""
    parser = argparse.ArgumentParser(description="Compare docpipe's pictures of pages with poppler's and PDFium's.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=1, help="pages of each document")
    parser.add_argument("--out", type=Path, help="write every page as a line of tab-separated values; goes on with it")
    parser.add_argument("--pictures", type=Path, help="folder for the three pictures of each listed page")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="documents that are compared at once")
    parser.add_argument(
        "--drawn-right", nargs="+", default=[], metavar="FILE", help="names of PDFs that docpipe draws right"
    )
    given = parser.parse_args()
    rows = _read(given.out) if given.out is not None and given.out.exists() else []
    known = {row.path for row in rows}
    found = sorted(path for path in given.folder.rglob("*") if path.suffix.lower() == ".pdf" and path.is_file())
    left = [path for path in found if path not in known]
    comparison = Comparison(given.pages, given.pictures)
    with ThreadPoolExecutor(given.jobs) as pool:
        for compared in tqdm(pool.map(comparison.of, left), total=len(left), unit="document", mininterval=10):
            rows += compared
            if given.out is not None:
                with given.out.open("a") as table:
                    table.writelines(f"{row.line()}\n" for row in compared)
    alone = [row for row in rows if row.stands_alone]
    wrong = [row for row in alone if row.outcome == "read" and row.path.name not in given.drawn_right]
    for row in alone:
        sys.stdout.write(f"{row.line()}\n")
    counts = Counter(row.outcome for row in rows)
    sys.stdout.write(
        f"{len(rows)} pages: {', '.join(f'{n} {name}' for name, n in counts.most_common())}; "
        f"{len(alone)} differ from both by more than {_GREY_LEVELS:g} grey levels, "
        f"{sum(row.outcome == 'read' for row in alone)} of them read, {len(wrong)} of these without --drawn-right\n"
    )
    return int(bool(wrong))


class Comparison:
    """Compares documents, in several threads that have a render child each.

    Args:
        pages: number of pages to compare of each document.
        pictures: folder for the pictures of listed pages; ``None`` for no pictures.
    """

    def __init__(self, pages: int, pictures: Path | None) -> None:
        self._pages = pages
        self._pictures = pictures
        self._own = local()

    def of(self, path: Path) -> list[Compared]:
        """Compare the first pages of a document."""
        if not hasattr(self._own, "child"):
            self._own.child = RenderChild(RenderLimits(open_seconds=_SECONDS, page_seconds=_SECONDS))
        return list(self._compared(self._own.child, path))

    def _compared(self, child: RenderChild, path: Path) -> Iterator[Compared]:
        status = path.stat()
        document = Document(str(path), path.name, str(path.resolve()), status.st_size, str(status.st_mtime_ns))
        try:
            count = child.count_pages(document)
        except PageError as error:
            yield Compared(path, 1, "failed", None, None, f"{error.error_type}: {error.message}")
            return
        for drawn in child.render(document, range(1, min(count, self._pages) + 1), _DPI, _BUDGET):
            if isinstance(drawn, PageFailure):
                why = f"{drawn.failure.error_type}: {drawn.failure.error_message}"
                yield Compared(path, drawn.page, "failed", None, None, why)
                continue
            mine = np.asarray(PilImage.fromarray(decode_image(drawn)).convert("L"))
            others = [draw(path, drawn.page, mine) for draw in (_poppler, _pdfium)]
            poppler, pdfium = [other if other is None else _difference(mine, other) for other in others]
            why = f"{drawn.renderer}: {drawn.warnings or ''}"
            row = Compared(path, drawn.page, _outcome(drawn), poppler, pdfium, why)
            if row.stands_alone and self._pictures is not None:
                self._pictures.mkdir(parents=True, exist_ok=True)
                name = "_".join([*path.parts[-3:-1], path.stem, str(drawn.page)])
                side_by_side = np.hstack([mine, *(other for other in others if other is not None)])
                PilImage.fromarray(side_by_side).save(self._pictures / f"{name}.png")
            yield row


def _read(table: Path) -> list[Compared]:
    """Read what an earlier run wrote."""
    rows: list[Compared] = []
    for line in table.read_text().splitlines():
        path, page, outcome, *away, why = line.split("\t")
        poppler, pdfium = [None if value == "-" else float(value) for value in away]
        rows.append(Compared(Path(path), int(page), outcome, poppler, pdfium, why))
    return rows


def _outcome(drawn: PageImage) -> str:
    return "blank" if drawn.blank else "doubtful" if drawn.is_doubtful else "read"


def _difference(mine: Grey, other: Grey) -> float:
    return float(np.abs(mine.astype(float) - other).mean())


def _poppler(path: Path, page: int, mine: Grey) -> Grey | None:
    words = ["pdftoppm", "-cropbox", "-gray", "-scale-to", str(_LONG_SIDE_PX), "-f", str(page), "-l", str(page)]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "page.pgm"
        return _picture([*words, "-singlefile", str(path), str(target.with_suffix(""))], target, mine)


def _pdfium(path: Path, page: int, mine: Grey) -> Grey | None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "page.png"
        words = [sys.executable, "-c", _DRAW_WITH_PDFIUM, str(path), str(page), str(target), str(_LONG_SIDE_PX)]
        return _picture(words, target, mine)


def _picture(command: list[str], target: Path, mine: Grey) -> Grey | None:
    """Draw a page with another program, at the size of docpipe's picture; ``None`` if it cannot."""
    try:
        subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        with PilImage.open(target) as picture:
            return np.asarray(picture.convert("L").resize((mine.shape[1], mine.shape[0]), PilImage.Resampling.BOX))
    except (OSError, subprocess.TimeoutExpired):
        return None


if __name__ == "__main__":
    sys.exit(main())
