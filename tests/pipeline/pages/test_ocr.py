"""OCR: words with boxes as a text layer has them."""

from __future__ import annotations

import dataclasses
from importlib.metadata import PackageNotFoundError

import numpy as np
import pymupdf
import pytest

from pipeline.errors import UsageError
from pipeline.pages.bundle_pages import render_bundle
from pipeline.pages.ocr import OcrReader, Part, words_of_line
from pipeline.pages.renderer import RenderChild
from pipeline.records import Bundle, PageImage, Unit
from pipeline.words import Words
from tests.support.bundles import SETTINGS
from tests.support.hostile import Put


def part(letters: str, x0: float, x1: float) -> Part:
    return letters, 0.9, [[x0, 0], [x1, 1], [x1, 20], [x0, 21]]


@pytest.mark.parametrize(
    ("text", "parts", "words"),
    [
        (
            "Due Date: 5",
            [part("Due", 0, 30), part("Date:", 35, 80), part("5", 90, 99)],
            [("Due", 0, 30), ("Date:", 35, 80), ("5", 90, 99)],
        ),
        ("TotalEUR", [part("Total", 0, 50), part("EUR", 90, 120)], [("Total", 0, 50), ("EUR", 90, 120)]),  # a gap
        (
            "价5 €",
            [part("价", 0, 20), part("5", 21, 30), part("€", 36, 45)],
            [("价5", 0, 30), ("€", 36, 45)],
        ),  # single letters
        ("a a", [part("a", 0, 9), part("a", 12, 20)], [("a", 0, 9), ("a", 12, 20)]),
    ],
)
def test_the_parts_of_a_line_are_joined_to_words(
    text: str, parts: list[Part], words: list[tuple[str, float, float]]
) -> None:
    assert list(words_of_line(text, parts)) == [(word, (x0, 0.0, x1, 21.0)) for word, x0, x1 in words]


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
def test_a_package_that_is_not_installed_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return "3.10"

    monkeypatch.setattr("pipeline.pages.ocr.version", version)
    with pytest.raises(UsageError, match=f"found no package {package}; install docpipe with its extra 'ocr'"):
        OcrReader()


def test_a_page_is_read_without_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rapidocr")
    pytest.importorskip("onnxruntime")
    from rapidocr.utils.download_file import DownloadFile

    monkeypatch.setattr(DownloadFile, "run", lambda _: pytest.fail("a download was begun"))
    with pymupdf.open() as document:
        page = document.new_page(width=200, height=100)
        page.insert_text((20, 40), "Invoice No", fontsize=11)
        page.insert_text((110, 40), "INV-48291", fontsize=11)
        (box,) = page.search_for("INV-48291")
        pixmap = page.get_pixmap(dpi=144)
    pixels = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3)
    image = PageImage("d", 1, 200, 100, 144, pixmap.width, pixmap.height, 50, 1.0, "raw", pixels.tobytes())
    reader = OcrReader(threads=1)
    words = reader.words(image)
    assert words is not None
    found = dict(zip(words.text.split(), np.array(words.corners).reshape(-1, 4).tolist(), strict=True))
    assert list(found) == ["Invoice", "No", "INV-48291"]
    assert found["INV-48291"] == pytest.approx([box.x0, 31, box.x1, 43], abs=4)
    assert reader.words(PageImage("d", 1, 50, 50, 72, 50, 50, 4, 1.0, "raw", bytes([255]) * 7500)) is None


class Read:
    """Stands for OCR."""

    def words(self, page: PageImage) -> Words | None:
        return Words(f"read {page.page}", (0.0,) * 8)


def test_only_pages_without_a_text_layer_are_read(
    child: RenderChild, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.pages.bundle_pages.ocr_reader", Read)
    with pymupdf.open() as made:
        made.new_page(width=100, height=100).insert_text((10, 50), "written")
        made.new_page(width=100, height=100).draw_line((10, 10), (60, 60), width=3)
        made.new_page(width=100, height=100)
        document = put("a.pdf", made.tobytes())
    units = (Unit("u", document.document_id, "q", (1, 2, 3)),)
    bundle = Bundle("b", (document,), (), units, {})
    read = render_bundle(bundle, child, dataclasses.replace(SETTINGS, ocr="rapidocr 3"))
    assert [image.words and image.words.text for image in read.images] == ["written", "read 2", None]
    plain = render_bundle(bundle, child, SETTINGS)
    assert [image.words and image.words.text for image in plain.images] == ["written", None, None]
