"""The lines of docs/output.md that draw evidence put it where a viewer displays it, on turned and cropped pages too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pymupdf
import pytest
from PIL import Image

from tests.support.markdown import ROOT, blocks

SCALE = 2  # the lines draw at 144 dpi
LINE_PX = 2 * SCALE


def bounds(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Left, top, right and bottom of what is true."""
    down, across = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    return [int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1]


def picture_of(page: pymupdf.Page) -> npt.NDArray[np.uint8]:
    pixmap = page.get_pixmap(dpi=72 * SCALE)
    return np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3)


@pytest.mark.parametrize("crop", [None, (60, 30, 340, 250)])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_evidence_is_drawn_around_what_a_viewer_displays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotate: int, crop: tuple[int, int, int, int] | None
) -> None:
    (lines,) = [block for block in blocks(ROOT / "docs/output.md", "python") if "evidence" in block]
    (tmp_path / "pdfs").mkdir()
    (tmp_path / "answers/answers").mkdir(parents=True)
    with pymupdf.open() as pdf:
        page = pdf.new_page(width=400, height=300)
        page.draw_rect((100, 50, 180, 80), color=None, fill=(0, 0, 0))
        page.set_rotation(rotate)
        if crop is not None:
            page.set_cropbox(pymupdf.Rect(crop))
        pdf.save(tmp_path / "pdfs/a.pdf")
    with pymupdf.open(tmp_path / "pdfs/a.pdf") as pdf:
        ink = bounds(picture_of(pdf[0]).max(-1) < 128)
    x0, y0, x1, y1 = (side / SCALE for side in ink)
    evidence = [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": 1.0, "page": 1}]
    row = {"document": "a.pdf", "page": 1, "status": "answered", "evidence": evidence}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "answers/answers/0.parquet")
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    with Image.open(tmp_path / "evidence.png") as drawn:
        red = np.asarray(drawn.convert("RGB")).astype(int)
    found = bounds((red[..., 0] > 200) & (red[..., 1] < 60) & (red[..., 2] < 60))
    assert np.abs(np.array(found) - ink).max() <= LINE_PX, f"drawn at {found}, displayed at {ink}"
