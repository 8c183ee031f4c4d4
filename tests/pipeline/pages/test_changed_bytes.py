"""A file with changed bytes is failed or doubted wherever the format lets one see the damage."""

from __future__ import annotations

import io
import itertools
import zlib
from typing import Any

import numpy as np
import pymupdf
import pytest
from PIL import Image as PilImage
from PIL import ImageDraw

from pipeline.pages.renderer import RenderChild
from pipeline.records import PageFailure, PageImage, PixelBudget
from pipeline.samples.document import make_sample
from tests.support.hostile import Put
from tests.support.written_pdf import TREE, WORDS, page, picture_pdf, stream, words_pdf, written_pdf

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
GREY = b"/ColorSpace/DeviceGray/BitsPerComponent 8"
FAX = b"/ColorSpace/DeviceGray/BitsPerComponent 1/Filter/CCITTFaxDecode/DecodeParms<</K -1/Columns 300/Rows 200>>"


def first_page(child: RenderChild, put: Put, name: str, data: bytes) -> PageImage | PageFailure:
    (result,) = child.render(put(name, data), [1], 72, BUDGET)
    return result


def is_told(result: PageImage | PageFailure) -> bool:
    return isinstance(result, PageFailure) or (result.is_doubtful and result.warnings is not None)


def is_trusted(result: PageImage | PageFailure) -> bool:
    return isinstance(result, PageImage) and not result.is_doubtful and not result.blank


def scan(mode: str = "L") -> PilImage.Image:
    """300 x 200 pixels that look like lines of text."""
    image = PilImage.new(mode, (300, 200), "white")
    draw = ImageDraw.Draw(image)
    for line in range(10):
        draw.text((10, 4 + 19 * line), f"line {line * 7919} of a scanned letter {line * 104729}", fill=0)
    return image


def encoded(image: PilImage.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def changed(data: bytes, count: int, first: float = 0.4) -> bytes:
    """The data with some bytes in its middle replaced."""
    start = int(len(data) * first)
    noise = np.random.default_rng(count).integers(0, 256, count, dtype=np.uint8).tobytes()
    return data[:start] + noise + data[start + count :]


def strip_of(tiff: bytes) -> bytes:
    """The only strip of a TIFF."""
    with PilImage.open(io.BytesIO(tiff)) as image:
        start, size = image.tag_v2[273][0], image.tag_v2[279][0]  # type: ignore[attr-defined]
    return tiff[start : start + size]


G4 = encoded(scan("1"), "TIFF", compression="group4", tiffinfo={278: 200})
JPEG = encoded(scan(), "JPEG", quality=80)
PROGRESSIVE = encoded(scan(), "JPEG", quality=80, progressive=True)
FLATE = zlib.compress(scan().tobytes())


def with_line_end(end: bytes, number: int) -> bytes:
    """One of the drawn documents whose compressed content happens to have such a line end."""
    found = []
    for seed in itertools.count():
        data = make_sample(seed).pdf()
        with pymupdf.open(stream=data) as document:
            if any(end in document.xref_stream_raw(xref) for xref in document[0].get_contents()):
                found.append(data)
        if len(found) > number:
            return found[number]
    raise AssertionError


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("ends", [(b"\n", b"\r\n"), (b"\r", b"")], ids=["crlf", "no cr"])
def test_a_pdf_that_was_sent_as_text_is_told(
    child: RenderChild, put: Put, number: int, ends: tuple[bytes, bytes]
) -> None:
    """Line ends are changed in compressed data too, and each renderer stops at another place."""
    sound = with_line_end(ends[0], number)
    assert is_trusted(first_page(child, put, "sound.pdf", sound))
    assert is_told(first_page(child, put, "sent.pdf", sound.replace(*ends)))


def test_content_that_both_renderers_lose_is_told_although_one_shows_more(child: RenderChild, put: Put) -> None:
    lines = b"".join(b"BT /F1 9 Tf 20 %d Td (line %d) Tj ET\n" % (190 - 9 * n, n * 7919) for n in range(20))
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Odd 1 0 R 2>>"  # MuPDF loses it, PDFium does not
    cut = stream(zlib.compress(lines)[:-40], b"/Filter/FlateDecode")
    image = first_page(child, put, "a.pdf", written_pdf([*TREE, page(b"/Font<</F1 5 0 R>>"), cut, font]))
    assert isinstance(image, PageImage)
    assert image.is_doubtful


@pytest.mark.parametrize(
    ("keys", "sound", "damaged"),
    [
        pytest.param(GREY + b"/Filter/DCTDecode", PROGRESSIVE, changed(PROGRESSIVE, 60), id="progressive jpeg"),
        pytest.param(GREY + b"/Filter/FlateDecode", FLATE, FLATE[:-4] + b"sums", id="flate, checksum"),
        pytest.param(
            GREY + b"/Filter/FlateDecode",
            FLATE,
            zlib.compress(changed(scan().tobytes(), 600), 0)[:-4] + FLATE[-4:],
            id="flate, pixels",
        ),
        pytest.param(FAX, strip_of(G4), changed(strip_of(G4), 40), id="fax"),
    ],
)
def test_a_damaged_picture_in_a_pdf_is_told(
    child: RenderChild, put: Put, keys: bytes, sound: bytes, damaged: bytes
) -> None:
    assert is_trusted(first_page(child, put, "sound.pdf", picture_pdf(sound, keys)))
    assert is_told(first_page(child, put, "damaged.pdf", picture_pdf(damaged, keys)))


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_a_jpeg_is_told_in_a_pdf_wherever_it_is_told_by_itself(child: RenderChild, put: Put, kind: str) -> None:
    whole = JPEG if kind == "baseline" else PROGRESSIVE
    damaged = [changed(whole, count, first) for count in (1, 9, 60) for first in (0.3, 0.5, 0.7)]
    keys = GREY + b"/Filter/DCTDecode"
    alone = [is_told(first_page(child, put, f"{n}.jpg", data)) for n, data in enumerate(damaged)]
    inside = [is_told(first_page(child, put, f"{n}.pdf", picture_pdf(data, keys))) for n, data in enumerate(damaged)]
    assert any(alone)
    assert inside == alone


def test_every_page_that_shows_a_damaged_picture_is_told(child: RenderChild, put: Put) -> None:
    broken = stream(
        changed(PROGRESSIVE, 60), b"/Type/XObject/Subtype/Image/Width 300/Height 200/Filter/DCTDecode" + GREY
    )
    shared = page(b"/XObject<</I 5 0 R>>")
    tree = (TREE[0], b"<</Type/Pages/Kids[3 0 R 6 0 R]/Count 2>>")
    data = written_pdf([*tree, shared, stream(b"300 0 0 200 0 0 cm /I Do"), broken, shared])
    assert all(is_told(result) for result in child.render(put("a.pdf", data), [1, 2], 72, BUDGET))


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_a_damaged_fax_is_told(child: RenderChild, put: Put, compression: str) -> None:
    sound = encoded(scan("1"), "TIFF", compression=compression, tiffinfo={278: 200})
    assert is_trusted(first_page(child, put, "sound.tif", sound))
    strip = strip_of(sound)
    assert is_told(first_page(child, put, "damaged.tif", sound.replace(strip, changed(strip, 40))))


def test_pages_of_a_tiff_are_not_its_thumbnails_and_masks(child: RenderChild, put: Put) -> None:
    frames = [scan(), scan().resize((30, 20)), PilImage.new("1", (300, 200)), scan().transpose(PilImage.Transpose(0))]
    for frame, kind in zip(frames, (0, 1, 4, 2), strict=True):  # whole, smaller, mask, one of several pages
        frame.encoderinfo = {"tiffinfo": {254: kind}}  # type: ignore[attr-defined]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    document = put("a.tif", data)
    assert child.count_pages(document) == 2
    images = list(child.render(document, [1, 2], 72, BUDGET))
    assert all(isinstance(image, PageImage) for image in images)
    assert images[0].data != images[1].data  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_says_that_only_its_first_frame_is_read(child: RenderChild, put: Put, kind: str) -> None:
    data = encoded(scan(), kind, save_all=True, append_images=[PilImage.new("L", (300, 200), 9)])
    image = first_page(child, put, f"a.{kind.lower()}", data)
    assert isinstance(image, PageImage)
    assert image.warnings is not None
    assert "2 frames" in image.warnings


def test_sound_pages_stay_trusted(child: RenderChild, put: Put) -> None:
    assert is_trusted(first_page(child, put, "a.pdf", words_pdf(WORDS)))
