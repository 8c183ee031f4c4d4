"""Images are decoded right or refused: files of other writers than Pillow, against the pixels they were made of."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
import tifffile
from PIL import Image as PilImage

from pipeline.errors import PageError
from pipeline.pages.image_file import ImageFile
from pipeline.pages.image_kinds import image_kind
from pipeline.pages.tiff_file import TiffFile

HEIGHT, WIDTH = 84, 168
GREY = np.broadcast_to(np.arange(WIDTH) * 255 // (WIDTH - 1), (HEIGHT, WIDTH)).astype(np.uint8)
COLOUR = np.stack([GREY, np.flip(GREY), np.full_like(GREY, 90)], axis=-1)
COLOUR[:20, :20] = 0


def shown(path: Path, page: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    kind = image_kind(path.read_bytes()[:1024])
    assert kind is not None
    opened = TiffFile(str(path)) if kind == "TIFF" else ImageFile(str(path), kind)
    opened.size(page, 200)
    return opened.draw(page, width, height).image.astype(int)


def refused(path: Path, page: int = 0) -> PageError:
    with pytest.raises(PageError) as caught:
        shown(path, page)
    return caught.value


def grey(picture: np.ndarray) -> np.ndarray:
    return np.repeat(picture[..., None], 3, axis=-1).astype(int)


def saved(path: Path, picture: PilImage.Image, kind: str, **options: Any) -> Path:
    picture.save(path, kind, **options)
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [8, 16])
def test_images_silently_wrong_grey_is_right_or_refused(
    tmp_path: Path, bits: int, photometric: str, compression: str | None, order: str
) -> None:
    stored = GREY if photometric == "minisblack" else ~GREY
    path = tmp_path / "a.tif"
    samples = stored if bits == 8 else stored.astype(np.uint16) * 257
    tifffile.imwrite(path, samples, photometric=photometric, compression=compression, byteorder=order, metadata=None)
    if (bits, photometric, order) == (16, "miniswhite", ">"):
        assert refused(path).error_type == "UnsupportedPage"
    else:
        assert np.array_equal(shown(path), grey(GREY))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (32, 48)])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_in_planes_are_right(
    tmp_path: Path, bits: int, tile: tuple[int, int] | None, compression: str | None, order: str
) -> None:
    path = tmp_path / "a.tif"
    samples = COLOUR if bits == 8 else COLOUR.astype(np.uint16) * 257
    tifffile.imwrite(
        path,
        np.moveaxis(samples, -1, 0),
        photometric="rgb",
        planarconfig="separate",
        compression=compression,
        byteorder=order,
        tile=tile,
        metadata=None,
    )
    assert np.array_equal(shown(path), COLOUR)


@pytest.mark.parametrize("kind", ["i1", "i2", "u4", "i4", "f4", "f8"])
def test_values_that_are_no_colours_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY.astype(kind), photometric="minisblack", metadata=None)
    error = refused(path)
    assert (error.stage, error.error_type) == ("render", "UnsupportedPage")
    assert f"bits {np.dtype(kind).itemsize * 8}" in error.message


def test_a_refused_frame_costs_that_page_only(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        for samples in (GREY.astype(np.float64), GREY, GREY.astype(np.uint64), ~GREY):
            tiff.write(samples, photometric="minisblack", metadata=None)
    assert TiffFile(str(path)).pages == 4
    assert refused(path, 0).error_type == "UnsupportedPage"
    whole = tmp_path / "b.tif"
    with tifffile.TiffWriter(whole) as tiff:
        for samples in (GREY, GREY.astype(np.uint64), ~GREY):
            tiff.write(samples, photometric="minisblack", metadata=None)
    opened = TiffFile(str(whole))
    for _ in range(2):  # the frame after a failed one must not be taken for it
        with pytest.raises(PageError, match="UnsupportedPage"):
            opened.size(1, 72)
        assert np.array_equal(opened.draw(2, WIDTH, HEIGHT).image, grey(~GREY))
        assert np.array_equal(opened.draw(0, WIDTH, HEIGHT).image, grey(GREY))


@pytest.mark.parametrize("scale", [1, 257])
def test_a_colour_map_of_sixteen_or_of_eight_bits(tmp_path: Path, scale: int) -> None:
    colours = np.stack([np.arange(256), 255 - np.arange(256), np.full(256, 7)]).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, photometric="palette", colormap=colours * np.uint16(scale), metadata=None)
    assert np.array_equal(shown(path), colours.T[GREY])


@pytest.mark.parametrize("alpha", ["ASSOCALPHA", "UNASSALPHA"])
@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_of_either_kind_is_laid_on_white_paper(tmp_path: Path, alpha: str, bits: int) -> None:
    cover = np.full_like(GREY, 255)
    cover[:, : WIDTH // 2] = 51
    stored = COLOUR if alpha == "UNASSALPHA" else (COLOUR.astype(int) * cover[..., None] // 255).astype(np.uint8)
    samples = np.concatenate([stored, cover[..., None]], axis=-1)
    samples = samples if bits == 8 else samples.astype(np.uint16) * 257
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, samples, photometric="rgb", extrasamples=[alpha], metadata=None)
    share = cover[..., None] / 255
    assert np.abs(shown(path) - (COLOUR * share + 255 * (1 - share))).max() <= 6


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG", "WEBP"])
def test_an_orientation_that_none_has_is_upright(tmp_path: Path, kind: str, value: int) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = value
    path = saved(tmp_path / "a.bin", PilImage.fromarray(GREY), kind, exif=exif)
    opened = TiffFile(str(path)) if kind == "TIFF" else ImageFile(str(path), kind)
    assert opened.size(0, 72)[:2] == (WIDTH, HEIGHT)
    assert np.abs(opened.draw(0, WIDTH, HEIGHT).image.astype(int) - grey(GREY)).max() <= 8


@pytest.mark.parametrize("value", range(1, 9))
def test_a_webp_is_turned_as_its_tag_says(tmp_path: Path, value: int) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = value
    path = saved(tmp_path / "a.webp", PilImage.fromarray(COLOUR), "WEBP", exif=exif, lossless=True)
    upright = COLOUR.swapaxes(0, 1) if value >= 5 else COLOUR
    upright = upright[:: -1 if value in (3, 4, 7, 8) else 1, :: -1 if value in (2, 3, 6, 7) else 1]
    assert np.array_equal(shown(path, width=upright.shape[1], height=upright.shape[0]), upright)


@pytest.mark.parametrize("kind", ["WEBP", "JPEG2000", "BMP", "GIF", "HEIF"])
def test_the_other_kinds_are_read(tmp_path: Path, kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    path = saved(tmp_path / "a.bin", PilImage.fromarray(GREY), kind, **({"quality": 100} if kind == "HEIF" else {}))
    assert np.abs(shown(path) - grey(GREY)).max() <= 8
    if kind not in {"WEBP", "HEIF"}:  # which MuPDF does not read
        other = pymupdf.Pixmap(pymupdf.csRGB, pymupdf.Pixmap(path.read_bytes()))
        pixels = np.frombuffer(other.samples, np.uint8).reshape(HEIGHT, WIDTH, -1)[..., :3]
        assert np.array_equal(shown(path), pixels)


def test_heic_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refused(path)
    assert (error.stage, error.error_type) == ("open", "UnsupportedDocument")
    assert "extra 'heic'" in error.message


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_one_page(tmp_path: Path, kind: str) -> None:
    first, second = PilImage.fromarray(GREY), PilImage.fromarray(~GREY)
    more = {"lossless": True} if kind == "WEBP" else {}
    path = saved(tmp_path / "a.bin", first, kind, save_all=True, append_images=[second], **more)
    assert ImageFile(str(path), kind).pages == 1
    assert np.array_equal(shown(path), grey(GREY))


def png(samples: np.ndarray, bits: int, colour: int, hidden: tuple[int, ...]) -> bytes:
    if bits == 16:
        lines = [b"\0" + row.astype(">u2").tobytes() for row in samples]
    else:
        ones = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        lines = [b"\0" + np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in ones]
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)),
        (b"tRNS", struct.pack(f">{len(hidden)}H", *hidden)),
        (b"IDAT", zlib.compress(b"".join(lines))),
        (b"IEND", b""),
    ]
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_white_paper(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    samples = GREY.astype(np.int64) * top // 255
    hidden = int(samples[0, WIDTH // 3])
    (tmp_path / "a.png").write_bytes(png(samples, bits, 0, (hidden,)))
    expected = np.where(samples == hidden, 255, samples * 255 // top)
    assert np.abs(shown(tmp_path / "a.png") - grey(expected)).max() <= 1


def test_a_transparent_colour_of_sixteen_bits_is_refused(tmp_path: Path) -> None:
    samples = (COLOUR.astype(np.int64) * 257).reshape(HEIGHT, -1)
    (tmp_path / "a.png").write_bytes(png(samples, 16, 2, (0, 0, 0)))
    assert refused(tmp_path / "a.png").error_type == "UnsupportedDocument"


NOISE = PilImage.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
KINDS = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("WEBP", {}),
    ("JPEG2000", {}),
    ("BMP", {}),
    ("GIF", {}),
    *(("TIFF", {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
]


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=str)
def test_no_part_of_an_image_is_passed_off_as_the_whole(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    data = saved(tmp_path / "whole.bin", NOISE, kind, **options).read_bytes()
    shown(tmp_path / "whole.bin")
    for share in (0.2, 0.5, 0.9, 0.99):
        (tmp_path / "cut.bin").write_bytes(data[: int(len(data) * share)])
        assert refused(tmp_path / "cut.bin").error_type in {"CorruptPage", "CorruptDocument"}
    opened = TiffFile(str(tmp_path / "whole.bin")) if kind == "TIFF" else ImageFile(str(tmp_path / "whole.bin"), kind)
    if kind == "WEBP":  # its decoder has the whole file in memory by now
        return
    (tmp_path / "whole.bin").write_bytes(data[: int(len(data) * 0.7)])
    for _ in range(2):  # what a failed attempt has decoded must not be taken for the page
        with pytest.raises(PageError):
            opened.draw(0, WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damage_that_pillow_passes_over_is_found(tmp_path: Path, kind: str) -> None:
    data = saved(tmp_path / "whole.bin", NOISE, kind).read_bytes()
    half = len(data) // 2
    end = b"\xff\xd9" if kind == "JPEG" else data[-12:]
    for damaged in (data[:half] + end, data[:half] + bytes(len(data) - half)):
        (tmp_path / "a.bin").write_bytes(damaged)
        assert refused(tmp_path / "a.bin").error_type == "CorruptPage"


def test_what_follows_the_end_of_a_jpeg_does_no_harm(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    PilImage.fromarray(GREY).save(buffer, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue() + b"trailer of a camera" * 50)
    assert np.abs(shown(tmp_path / "a.jpg") - grey(GREY)).max() <= 8
