from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pymupdf
import pytest

from pipeline.pages import text_layer
from pipeline.pages.renderer import RenderChild
from pipeline.records import PageImage, PixelBudget
from pipeline.words import Words
from tests.support.hostile import Put

BUDGET = PixelBudget(28, 3136, 28 * 28 * 4096, "pipeline.families.qwen2_5_vl")
SCALE = 2


def read(draw: Callable[[pymupdf.Page], object]) -> Words | None:
    """The words of a page of 400 x 300 points."""
    with pymupdf.open() as made:
        draw(made.new_page(width=400, height=300))
        data = made.tobytes()
    with pymupdf.open("pdf", data) as pdf:
        return text_layer.read_words(pdf[0], picture_of(pdf[0]))


def picture_of(page: pymupdf.Page) -> npt.NDArray[np.uint8]:
    pixmap = page.get_pixmap(dpi=72 * SCALE)
    return np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3)


@pytest.mark.parametrize("upright", [0, 90])
@pytest.mark.parametrize("crop", [None, (60, 30, 340, 250)])
@pytest.mark.parametrize("unit", [1, 1.5])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_boxes_lie_around_the_words_as_displayed(
    rotate: int, unit: float, crop: tuple[int, int, int, int] | None, upright: int
) -> None:
    with pymupdf.open() as made:
        page = made.new_page(width=400, height=300)
        page.insert_text((150, 200), "Hxd", fontsize=20, rotate=upright)
        page.insert_text((150, 290), "below", fontsize=8)
        page.set_rotation(rotate)
        if crop is not None:
            page.set_cropbox(pymupdf.Rect(crop))
        made.xref_set_key(page.xref, "UserUnit", str(unit))
        data = made.tobytes()
    with pymupdf.open("pdf", data) as pdf:
        picture = picture_of(pdf[0])
        words = text_layer.read_words(pdf[0], picture)
        page_size = (pdf[0].rect.width, pdf[0].rect.height)
    assert words is not None
    assert words.text == ("Hxd" if crop else "Hxd\nbelow")
    x0, y0, x1, y1 = words.corners[:4]
    assert 0 <= x0 < x1 <= page_size[0]
    assert 0 <= y0 < y1 <= page_size[1]
    inside = picture[int(y0 * SCALE) : int(y1 * SCALE) + 1, int(x0 * SCALE) : int(x1 * SCALE) + 1]
    down, across = (inside.max(-1) < 128).any(1).nonzero()[0], (inside.max(-1) < 128).any(0).nonzero()[0]
    around = [down[0], inside.shape[0] - 1 - down[-1], across[0], inside.shape[1] - 1 - across[-1]]
    assert max(around) <= 0.35 * 20 * unit * SCALE, "the box is much larger than the letters"
    assert (inside.max(-1) < 128).sum() == (picture.max(-1) < 128)[: int(250 * unit * SCALE)].sum() or not crop


def test_words_that_are_not_seen_are_left_out() -> None:
    def draw(page: pymupdf.Page) -> None:
        page.insert_text((50, 50), "seen", fontsize=12)
        page.insert_text((50, 90), "white", fontsize=12, color=(1, 1, 1))
        page.insert_text((50, 130), "invisible", fontsize=12, render_mode=3)
        page.insert_text((50, 170), "covered", fontsize=12)
        page.draw_rect((40, 150, 200, 180), color=None, fill=(1, 1, 1))
        page.draw_rect((40, 190, 200, 220), color=None, fill=(0, 0, 0))
        page.insert_text((50, 210), "redacted", fontsize=12, render_mode=3)
        page.insert_text((50, 250), "white", fontsize=12, color=(1, 1, 1))
        page.draw_line((40, 247), (200, 247), color=(0, 0, 0))
        page.insert_text((500, 50), "outside", fontsize=12)

    words = read(draw)
    assert words is not None
    assert words.text == "seen"


def test_invisible_words_behind_a_scan_count() -> None:
    def draw(page: pymupdf.Page) -> None:
        scan = pymupdf.open()
        scanned = scan.new_page(width=400, height=300)
        scanned.insert_text((50, 50), "Total 12.50", fontsize=12)
        page.insert_image(page.rect, pixmap=scanned.get_pixmap(dpi=144))
        page.insert_text((50, 50), "Total 12.50", fontsize=12, render_mode=3)

    words = read(draw)
    assert words is not None
    assert words.text == "Total 12.50"


def test_forms_and_notes_count() -> None:
    def draw(page: pymupdf.Page) -> None:
        field = pymupdf.Widget()
        field.field_type, field.field_name, field.field_value = pymupdf.PDF_WIDGET_TYPE_TEXT, "a", "Harbor 77"
        field.rect = pymupdf.Rect(100, 120, 220, 140)
        page.add_widget(field)
        page.add_freetext_annot(pymupdf.Rect(100, 160, 250, 180), "Approved")

    words = read(draw)
    assert words is not None
    assert sorted(words.text.split()) == ["77", "Approved", "Harbor"]


@pytest.mark.parametrize("text", ["", " "])
def test_a_page_without_words_has_no_text_layer(text: str) -> None:
    def draw(page: pymupdf.Page) -> None:
        page.insert_text((50, 50), text)
        page.draw_rect((40, 150, 200, 180), fill=(0, 0, 0))

    assert read(draw) is None


@pytest.mark.parametrize(("garbage", "trusted"), [(2, True), (20, False)])
def test_letters_that_are_none_are_not_trusted(garbage: int, trusted: bool) -> None:
    assert text_layer._is_garbage("readable words" + "\ue012\ufffd" * garbage) is not trusted


def test_a_font_that_does_not_say_its_letters_gives_no_text_layer(put: Put, child: RenderChild) -> None:
    with pymupdf.open() as made:
        page = made.new_page(width=400, height=300)
        writer = pymupdf.TextWriter(page.rect)
        writer.append((50, 50), "Total 12.50", font=pymupdf.Font("notos"))
        writer.write_text(page)
        made.subset_fonts()
        for number in range(1, made.xref_length()):
            if made.xref_get_key(number, "ToUnicode")[0] == "xref":
                made.xref_set_key(number, "ToUnicode", "null")
        data = made.tobytes()
    (image,) = child.render(put("a.pdf", data), [1], 144, BUDGET)
    assert isinstance(image, PageImage)
    assert image.words is None


def test_a_page_with_more_words_than_anybody_reads_has_no_text_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(page: pymupdf.Page) -> None:
        page.insert_text((50, 50), "one two three")

    assert read(draw) is not None
    monkeypatch.setattr(text_layer, "MOST_WORDS", 2)
    assert read(draw) is None


def test_words_come_with_the_page_and_pictures_have_none(put: Put, child: RenderChild) -> None:
    with pymupdf.open() as made:
        made.new_page(width=400, height=300).insert_text((50, 50), "Grüße, 12.50", fontsize=12)
        data, picture = made.tobytes(), made[0].get_pixmap(dpi=72).tobytes("png")
    (image,) = child.render(put("a.pdf", data), [1], 72, BUDGET)
    assert isinstance(image, PageImage)
    assert image.words is not None
    assert image.words.text == "Grüße, 12.50"
    assert image.words.corners[:2] == pytest.approx((50, 40.4), abs=0.1)
    assert len(image.words.corners) == 8
    (scan,) = child.render(put("a.png", picture), [1], 72, BUDGET)
    assert isinstance(scan, PageImage)
    assert scan.words is None
