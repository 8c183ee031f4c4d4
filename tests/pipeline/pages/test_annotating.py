"""Marks stand where a viewer displays the evidence, and the document itself stays as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pymupdf
import pypdfium2
import pytest

from pipeline.errors import PageError
from pipeline.pages.marks import Mark
from pipeline.pages.passwords import Passwords
from pipeline.pages.renderer import RenderChild
from tests.support.hostile import Put, as_document, encrypted_pdf, png_of_size, raw_pdf, text_pdf
from tests.support.written_pdf import FONT, TREE, page, stream, written_pdf

GREEN = (0.0, 1.0, 0.0)


def mark(boxes: list[tuple[float, float, float, float]], page: int = 1, text: str = "1903.88") -> Mark:
    return {"page": page, "boxes": boxes, "colour": GREEN, "subject": "total", "text": text}


def marks_file(folder: Path, *marks: Mark) -> Path:
    (folder / "marks.json").write_text(json.dumps(marks), encoding="utf-8")
    return folder / "marks.json"


def picture_of(path: Path) -> npt.NDArray[np.int_]:
    with pymupdf.open(path) as pdf:
        pixmap = pdf[0].get_pixmap(dpi=144)
        pixels = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3)
        return pixels.astype(int)


def pdfium_picture_of(path: Path) -> npt.NDArray[np.int_]:
    """At twice the size of the page, which PDFium takes to be without its /UserUnit."""
    with pypdfium2.PdfDocument(path) as pdf:
        return np.array(pdf[0].render(scale=2, rev_byteorder=True).to_pil().convert("RGB")).astype(int)


def notes_of(path: Path, page: int = 0) -> list[dict[str, Any]]:
    with pymupdf.open(path) as pdf:
        return [{**annotation.info, "type": annotation.type[1]} for annotation in pdf[page].annots()]


@pytest.mark.parametrize("box", [(50, 70, 110, 90), (50, 70, 110, 130)], ids=["line", "block"])
@pytest.mark.parametrize("crop", [None, (60, 30, 340, 250)])
@pytest.mark.parametrize("unit", [1, 1.5])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_highlights_are_where_a_viewer_displays_the_box(
    tmp_path: Path,
    child: RenderChild,
    rotate: int,
    unit: float,
    crop: tuple[int, int, int, int] | None,
    box: tuple[float, float, float, float],
) -> None:
    with pymupdf.open() as pdf:
        page = pdf.new_page(width=400, height=300)
        pdf.xref_set_key(page.xref, "UserUnit", str(unit))
        page.set_rotation(rotate)
        if crop is not None:
            page.set_cropbox(pymupdf.Rect(crop))
        pdf.save(str(tmp_path / "a.pdf"))
    child.annotate(as_document(tmp_path / "a.pdf"), marks_file(tmp_path, mark([box])), tmp_path / "b.pdf")
    for scale, seen in ((2.0, picture_of(tmp_path / "b.pdf")), (2 / unit, pdfium_picture_of(tmp_path / "b.pdf"))):
        down, across = ((seen[..., 1] > 200) & (seen[..., 0] < 120)).nonzero()
        found = np.array([across.min(), down.min(), across.max(), down.max()]) / scale
        assert np.abs(found - box).max() <= 5 * unit, found  # the ends of a highlight are round


def test_the_note_says_what_it_is_given_and_the_document_is_not_touched(
    put: Put, tmp_path: Path, child: RenderChild
) -> None:
    document = put("a.pdf", text_pdf(2))
    before = Path(document.uri).read_bytes()
    text = "What? (\\)\n<b>1903.88</b> \u05e9\u05dc\u05d5\u05dd \u00e4 \U0001f600"
    marks = marks_file(
        tmp_path, mark([(10, 10, 60, 30), (10, 40, 60, 50)], 2, text), mark([], 2, "in the margin"), mark([], 9)
    )
    child.annotate(document, marks, tmp_path / "b.pdf")
    assert Path(document.uri).read_bytes() == before
    assert (tmp_path / "b.pdf").read_bytes().startswith(before)  # appended, so that signatures hold
    assert notes_of(tmp_path / "b.pdf") == []
    highlight, note = notes_of(tmp_path / "b.pdf", 1)
    assert (highlight["type"], highlight["content"], highlight["subject"], highlight["title"]) == (
        "Highlight",
        text,
        "total",
        "docpipe",
    )
    assert (note["type"], note["content"]) == ("Text", "in the margin")


def test_a_page_that_the_document_shows_twice_gets_each_note_once(put: Put, tmp_path: Path, child: RenderChild) -> None:
    tree = b"<</Type/Pages/Kids[3 0 R 3 0 R 6 0 R]/Count 3>>"
    document = put("a.pdf", written_pdf([TREE[0], tree, page(), stream(b""), FONT, page()]))
    marks = [mark([], 1), mark([], 2), mark([(10, 10, 60, 30)], 2, "other"), mark([], 3)]
    child.annotate(document, marks_file(tmp_path, *marks), tmp_path / "b.pdf")
    with pymupdf.open(tmp_path / "b.pdf") as pdf:
        assert pdf.page_count == 3
    notes = [[note["content"] for note in notes_of(tmp_path / "b.pdf", index)] for index in range(3)]
    assert notes == [["1903.88", "other"], ["1903.88", "other"], ["1903.88"]]


def test_a_locked_pdf_stays_locked(put: Put, tmp_path: Path) -> None:
    document = put("a.pdf", encrypted_pdf("secret"))
    marks = marks_file(tmp_path, mark([(10, 10, 60, 30)]))
    with RenderChild(passwords=Passwords((("**", "secret"),))) as child:
        child.annotate(document, marks, tmp_path / "b.pdf")
    with pymupdf.open(tmp_path / "b.pdf") as pdf:
        assert pdf.needs_pass
        assert pdf.authenticate("secret")
        assert [annotation.info["content"] for annotation in pdf[0].annots()] == ["1903.88"]


def test_a_damaged_pdf_is_written_anew(put: Put, tmp_path: Path, child: RenderChild) -> None:
    child.annotate(put("a.pdf", raw_pdf()), marks_file(tmp_path, mark([(10, 10, 60, 30)])), tmp_path / "b.pdf")
    assert [note["content"] for note in notes_of(tmp_path / "b.pdf")] == ["1903.88"]


@pytest.mark.parametrize("content", [b"text", png_of_size(10, 10), encrypted_pdf("secret")])
def test_what_cannot_be_annotated_is_refused(put: Put, tmp_path: Path, child: RenderChild, content: bytes) -> None:
    with pytest.raises(PageError):
        child.annotate(put("a.pdf", content), marks_file(tmp_path, mark([])), tmp_path / "b.pdf")
