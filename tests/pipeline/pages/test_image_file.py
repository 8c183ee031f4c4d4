from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL.TiffImagePlugin import TiffImageFile

from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Document, Failure, Image, PageFailure, PageImage, PixelBudget
from tests.support.hostile import Put, png_of_size

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def encoded(image: PilImage.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(left: tuple[int, ...] = RED, right: tuple[int, ...] = BLUE, mode: str = "RGB") -> PilImage.Image:
    """168 x 84 pixels, which need no resizing: the left half of one colour, the right half of another."""
    image = PilImage.new(mode, (168, 84), left)
    image.paste(right, (84, 0, 168, 84))
    return image


def rendered(child: RenderChild, document: Document, page: int = 1, dpi: int = 200) -> tuple[PageImage, Image]:
    (image,) = child.render(document, [page], dpi, BUDGET)
    assert isinstance(image, PageImage), image
    return image, decode_image(image)


def failed(child: RenderChild, document: Document, page: int = 1) -> Failure:
    (result,) = child.render(document, [page], 200, BUDGET)
    assert isinstance(result, PageFailure), result
    return result.failure


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_without_a_resolution_a_pixel_is_a_point_and_nothing_is_enlarged(
    child: RenderChild, put: Put, kind: str
) -> None:
    document = put("a.bin", encoded(halves(), kind))
    assert child.count_pages(document) == 1
    image, pixels = rendered(child, document)
    assert (image.width_pt, image.height_pt, image.dpi) == (168, 84, 72)
    assert (image.width_px, image.height_px, image.visual_tokens) == (168, 84, 18)
    assert np.array_equal(pixels, np.asarray(halves()))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_the_stated_resolution_gives_the_size_in_points(child: RenderChild, put: Put, kind: str) -> None:
    document = put("a.bin", encoded(halves().resize((1680, 840)), kind, dpi=(600, 600)))
    image, pixels = rendered(child, document, dpi=60)
    assert (image.width_pt, image.height_pt) == pytest.approx((201.6, 100.8), rel=1e-3)
    assert (image.width_px, image.height_px) == (168, 84)
    assert image.dpi == pytest.approx(60, abs=0.1)
    assert np.abs(pixels[:, :75].astype(int) - RED).max() <= 2
    assert np.abs(pixels[:, 93:].astype(int) - BLUE).max() <= 2


def test_a_fax_with_two_resolutions_has_the_shape_of_its_paper(child: RenderChild, put: Put) -> None:
    fax = PilImage.new("1", (1728, 1078), 1)
    document = put("a.tif", encoded(fax, "TIFF", compression="group4", dpi=(204, 98)))
    image, pixels = rendered(child, document, dpi=72)
    assert (image.width_pt, image.height_pt) == pytest.approx((610, 792), abs=1)
    assert image.height_px / image.width_px == pytest.approx(792 / 610, rel=0.05)
    assert (pixels == 255).all()


@pytest.mark.parametrize("dpi", [1.5, 10_000_000])
def test_an_absurd_resolution_is_not_believed(child: RenderChild, put: Put, dpi: float) -> None:
    image, _ = rendered(child, put("a.png", encoded(halves(), "PNG", dpi=(dpi, dpi))))
    assert (image.width_pt, image.height_pt, image.width_px, image.height_px) == (168, 84, 168, 84)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_page_is_upright(child: RenderChild, put: Put, kind: str, orientation: int) -> None:
    stored = PilImage.new("L", (168, 84), 255)
    stored.paste(0, (0, 0, 56, 28))
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    image, pixels = rendered(child, put("a.bin", encoded(stored, kind, exif=exif)))
    # where the stored top left corner has to be seen
    corner = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "tl", 6: "tr", 7: "br", 8: "bl"}[orientation]
    sideways = orientation >= 5
    assert (image.width_pt, image.height_pt) == ((84, 168) if sideways else (168, 84))
    assert pixels.shape == ((168, 84, 3) if sideways else (84, 168, 3))
    seen = pixels[:: -1 if corner[0] == "b" else 1, :: -1 if corner[1] == "r" else 1]
    height, width = (56, 28) if sideways else (28, 56)
    assert (seen[: height - 4, : width - 4] < 10).all()
    assert (seen[height + 4 :] > 245).all()
    assert (seen[:, width + 4 :] > 245).all()
    again = put("b.bin", encoded(stored, kind, exif=exif))
    assert child.measure(again, [1], 200, BUDGET) == (image.visual_tokens,)


def test_each_frame_of_a_tiff_is_a_page_of_its_own_size(child: RenderChild, put: Put) -> None:
    frames = [PilImage.new("RGB", size, colour) for size, colour in (((168, 84), RED), ((84, 112), BLUE))]
    document = put("a.tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:], compression="tiff_lzw"))
    assert child.count_pages(document) == 2
    second, first = (rendered(child, document, page) for page in (2, 1))
    assert (first[0].width_px, first[0].height_px) == (168, 84)
    assert (first[1] == RED).all()
    assert (second[0].width_px, second[0].height_px) == (84, 112)
    assert (second[1] == BLUE).all()
    assert failed(child, document, 3).error_type == "NoSuchPage"


def test_a_damaged_frame_costs_that_page_only(child: RenderChild, put: Put) -> None:
    noise = [PilImage.effect_noise((112, 112), 90) for _ in range(3)]
    data = encoded(noise[0], "TIFF", save_all=True, append_images=noise[1:], compression="tiff_adobe_deflate")
    with PilImage.open(io.BytesIO(data)) as tiff:
        assert isinstance(tiff, TiffImageFile)
        tiff.seek(1)
        start = tiff.tag_v2[0x0111][0]  # StripOffsets
    document = put("a.tif", data[:start] + bytes(400) + data[start + 400 :])
    assert child.count_pages(document) == 3
    kinds = [type(result) for result in child.render(document, [1, 2, 3], 72, BUDGET)]
    assert kinds == [PageImage, PageFailure, PageImage]


def test_previews_and_animations_are_no_pages(child: RenderChild, put: Put) -> None:
    frames = {"save_all": True, "append_images": [halves(BLUE, RED)]}
    for kind in ("MPO", "PNG"):
        document = put(f"{kind}.bin", encoded(halves(), kind, **frames))
        assert child.count_pages(document) == 1
        _, pixels = rendered(child, document)
        assert np.abs(pixels[:, :70].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white_paper(child: RenderChild, put: Put, mode: str) -> None:
    if mode == "P":
        black = halves(BLACK, WHITE).convert("P").getpixel((0, 0))
        data = encoded(halves(BLACK, WHITE).convert("P"), "PNG", transparency=black)
    else:
        colours = {"RGBA": ((0, 0, 0, 0), (0, 0, 0, 255)), "LA": ((0, 0), (0, 255))}[mode]
        data = encoded(halves(*colours, mode=mode), "PNG")
    _, pixels = rendered(child, put("a.png", data))
    assert (pixels[:, :80] == 255).all()
    assert (pixels[:, 88:] == (255 if mode == "P" else 0)).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut_off(child: RenderChild, put: Put, kind: str) -> None:
    ramp = np.repeat(np.arange(84, dtype=np.uint16)[:, None] * 780, 84, axis=1)
    _, pixels = rendered(child, put("a.bin", encoded(PilImage.fromarray(ramp), kind)))
    assert np.array_equal(pixels, np.repeat((ramp >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


def test_cmyk_and_palettes_and_black_and_white(child: RenderChild, put: Put) -> None:
    cmyk = halves((0, 255, 255, 0), (255, 255, 0, 0), mode="CMYK")
    _, pixels = rendered(child, put("a.tif", encoded(cmyk, "TIFF")))
    assert np.array_equal(pixels, np.asarray(halves()))
    _, pixels = rendered(child, put("b.png", encoded(halves().convert("P"), "PNG")))
    assert np.array_equal(pixels, np.asarray(halves()))
    _, pixels = rendered(child, put("c.png", encoded(halves(BLACK, WHITE).convert("1"), "PNG")))
    assert np.array_equal(pixels, np.asarray(halves(BLACK, WHITE)))


def test_pixels_that_are_no_colours_are_refused(child: RenderChild, put: Put) -> None:
    floats = PilImage.fromarray(np.zeros((84, 84), np.float32))
    failure = failed(child, put("a.tif", encoded(floats, "TIFF")))
    assert (failure.stage, failure.error_type) == ("render", "UnsupportedPage")
    assert failure.error_message == (
        "a TIFF with such pixels is not decoded: bits 32, sample format 3, photometric 1, planar configuration 1, "
        "compression 1; save it as 8-bit grey or RGB"
    )


def test_too_many_pixels_are_refused_before_they_are_decoded(child: RenderChild, put: Put) -> None:
    document = put("a.png", png_of_size(20_000, 20_000))
    assert child.count_pages(document) == 1
    assert failed(child, document) == Failure(
        "render", "PageTooLarge", "expected an image of 256 megapixels at most: it has 400 megapixels; make it smaller"
    )
    assert child.measure(document, [1], 200, BUDGET) == (None,)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_cut_off_image_is_a_corrupt_page(child: RenderChild, put: Put, kind: str) -> None:
    noise = PilImage.effect_noise((200, 200), 90)
    data = encoded(noise, kind)
    assert failed(child, put("a.bin", data[: len(data) // 2])).error_type == "CorruptPage"
    _, pixels = rendered(child, put("b.bin", data))
    assert pixels.std() > 20
