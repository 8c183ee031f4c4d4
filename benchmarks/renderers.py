"""Compares first pages as docpipe draws them with poppler's and PDFium's pictures of the same pages.

    python benchmarks/renderers.py DIR [--pages 1] [--out table.tsv]

needs pdftoppm (Debian: poppler-utils). Every PDF below DIR is drawn by docpipe's render child, with whatever that does
about damage, and by the two others. A page whose picture differs from both of theirs by more than 20 grey levels on
average is listed, with what docpipe makes of it: ``read`` pages would be answered; ``doubtful`` ones need review;
``failed`` and ``blank`` ones never reach the model. The exit code is 1 if a page is read that differs from both.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
_DRAW_WITH_PDFIUM = """
import sys, pypdfium2
document = pypdfium2.PdfDocument(sys.argv[1])
if document.get_formtype():
    document.init_forms()
page = document[int(sys.argv[2]) - 1]
page.render(scale=1000 / max(page.get_size()), rev_byteorder=True).to_pil().convert("L").save(sys.argv[3])
"""
Grey = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """Holds what became of a page; differences are mean grey levels, ``None`` where a picture is missing."""

    path: Path
    page: int
    outcome: str
    why: str
    poppler: float | None
    pdfium: float | None

    @property
    def stands_alone(self) -> bool:
        """True if both other pictures exist and differ from docpipe's."""
        return all(value is not None and value > _GREY_LEVELS for value in (self.poppler, self.pdfium))


def main() -> int:
    """Compare, print a table and return the exit code."""
    parser = argparse.ArgumentParser(description="Compare docpipe's pictures of pages with poppler's and PDFium's.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=1, help="pages of each document")
    parser.add_argument("--out", type=Path, help="write every page as a line of tab-separated values")
    given = parser.parse_args()
    rows: list[Compared] = []
    with RenderChild(RenderLimits(open_seconds=_SECONDS, page_seconds=_SECONDS)) as child:
        for path in tqdm(sorted(given.folder.rglob("*.pdf")), unit="document", mininterval=10):
            rows.extend(_compare(child, path, given.pages))
    if given.out is not None:
        given.out.write_text("".join(_line(row) + "\n" for row in rows))
    alone = [row for row in rows if row.stands_alone]
    for row in alone:
        sys.stdout.write(_line(row) + "\n")
    counts = Counter(row.outcome for row in rows)
    sys.stdout.write(
        f"{len(rows)} pages: {', '.join(f'{n} {name}' for name, n in counts.most_common())}; "
        f"{len(alone)} differ from both by more than {_GREY_LEVELS:g} grey levels, "
        f"{sum(row.outcome == 'read' for row in alone)} of them read\n"
    )
    return int(any(row.outcome == "read" for row in alone))


def _compare(child: RenderChild, path: Path, pages: int) -> Iterator[Compared]:
    document = Document(str(path), path.name, str(path.resolve()), path.stat().st_size, str(path.stat().st_mtime_ns))
    try:
        count = child.count_pages(document)
    except PageError as error:
        yield Compared(path, 1, "failed", f"{error.error_type}: {error.message}", None, None)
        return
    for drawn in child.render(document, range(1, min(count, pages) + 1), _DPI, _BUDGET):
        if isinstance(drawn, PageFailure):
            failure = drawn.failure
            yield Compared(path, drawn.page, "failed", f"{failure.error_type}: {failure.error_message}", None, None)
            continue
        mine = np.asarray(PilImage.fromarray(decode_image(drawn)).convert("L"), np.float64)
        others = [draw(path, drawn.page, mine) for draw in (_poppler, _pdfium)]
        yield Compared(path, drawn.page, _outcome(drawn), f"{drawn.renderer}: {drawn.warnings or ''}", *others)


def _outcome(drawn: PageImage) -> str:
    return "blank" if drawn.blank else "doubtful" if drawn.is_doubtful else "read"


def _poppler(path: Path, page: int, mine: Grey) -> float | None:
    height, width = mine.shape
    size = ["-scale-to-x", str(width), "-scale-to-y", str(height)]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "page"
        words = ["pdftoppm", "-cropbox", "-gray", *size, "-f", str(page), "-l", str(page), "-singlefile"]
        return _difference([*words, str(path), str(target)], target.with_suffix(".pgm"), mine)


def _pdfium(path: Path, page: int, mine: Grey) -> float | None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "page.png"
        return _difference([sys.executable, "-c", _DRAW_WITH_PDFIUM, str(path), str(page), str(target)], target, mine)


def _difference(command: list[str], target: Path, mine: Grey) -> float | None:
    """Draw a page with another program, and return the mean difference in grey levels; ``None`` if it cannot."""
    try:
        subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        with PilImage.open(target) as picture:
            theirs = picture.convert("L").resize((mine.shape[1], mine.shape[0]), PilImage.Resampling.BOX)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return float(np.abs(mine - np.asarray(theirs, np.float64)).mean())


def _line(row: Compared) -> str:
    shown = ["-" if value is None else f"{value:.1f}" for value in (row.poppler, row.pdfium)]
    return "\t".join([str(row.path), str(row.page), row.outcome, *shown, " ".join(row.why.split())[:200]])


if __name__ == "__main__":
    sys.exit(main())
