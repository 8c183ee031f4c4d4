from __future__ import annotations

import io
import os
import signal
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pymupdf
import pytest
from PIL import Image

from pipeline.documents import list_documents
from pipeline.errors import PageError
from pipeline.records import Document, PageFailure, PageImage, PixelBudget
from pipeline.render import RenderChild, RenderLimits, decode_image

BUDGET = PixelBudget(28, 3136, 256 * 784)
LARGE = PixelBudget(28, 3136, 12_845_056)


def document(path: Path) -> Document:
    return list_documents([str(path)])[0]


def make_pdf(path: Path, pages: int = 2, width: float = 595, height: float = 842, **save: object) -> Document:
    with pymupdf.open() as pdf:
        for number in range(1, pages + 1):
            page = pdf.new_page(width=width, height=height)
            page.draw_rect(pymupdf.Rect(0, 0, width / 2, height / 2), color=None, fill=(number / 5, 0, 0))
        pdf.save(path, **save)
    return document(path)


@pytest.fixture(scope="module")
def child() -> object:
    with RenderChild() as child:
        yield child


def test_pages_come_at_the_size_the_model_takes(child: RenderChild, tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf", pages=3)
    assert child.count_pages(pdf) == 3
    images = list(child.render(pdf, [3, 1], 200, BUDGET))
    assert all(isinstance(image, PageImage) for image in images)
    for image, number in zip(images, (3, 1), strict=True):
        assert isinstance(image, PageImage)
        assert (image.page, image.width_px, image.height_px, image.visual_tokens) == (number, 364, 532, 247)
        assert (image.width_pt, image.height_pt) == (595, 842)
        assert image.render_ms > 0
        pixels = decode_image(image)
        assert pixels.shape == (532, 364, 3)
        assert pixels[100, 100].tolist() == [number * 51, 0, 0]
        assert pixels[400, 300].tolist() == [255, 255, 255]


def test_large_pages_come_as_png_with_the_same_pixels(child: RenderChild, tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf", pages=1)
    large, small = (next(iter(child.render(pdf, [1], dpi, LARGE))) for dpi in (200, 72))
    assert isinstance(large, PageImage)
    assert isinstance(small, PageImage)
    assert (large.encoding, small.encoding) == ("png", "raw")
    assert decode_image(large).shape == (2352, 1652, 3)
    assert len(large.data) < 200_000
    with pymupdf.open(tmp_path / "a.pdf") as opened:
        matrix = pymupdf.Matrix(large.width_px / 595, large.height_px / 842)
        direct = opened[0].get_pixmap(matrix=matrix, alpha=False)
        want = np.frombuffer(direct.samples, np.uint8).reshape(direct.height, direct.width, 3)
    assert np.array_equal(decode_image(large), want[:2352, :1652])


def test_measuring_agrees_with_rendering(child: RenderChild, tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf", pages=2, width=300, height=900)
    sizes = [image.visual_tokens for image in child.render(pdf, [1, 2], 100, LARGE) if isinstance(image, PageImage)]
    assert child.measure(pdf, [1, 2, 3], 100, LARGE) == (*sizes, None)


def test_rotated_and_cropped_pages(child: RenderChild, tmp_path: Path) -> None:
    with pymupdf.open() as pdf:
        pdf.new_page(width=400, height=200).set_rotation(90)
        page = pdf.new_page(width=500, height=500)
        page.draw_rect(pymupdf.Rect(100, 100, 200, 200), color=None, fill=(0, 0, 1))
        page.set_cropbox(pymupdf.Rect(100, 100, 200, 300))
        pdf.save(tmp_path / "a.pdf")
    first, second = child.render(document(tmp_path / "a.pdf"), [1, 2], 72, BUDGET)
    assert isinstance(first, PageImage)
    assert isinstance(second, PageImage)
    assert (first.width_pt, first.height_pt) == (200, 400)
    assert (second.width_pt, second.height_pt) == (100, 200)
    assert decode_image(second)[20, 20].tolist() == [0, 0, 255]
    assert decode_image(second)[-20, 20].tolist() == [255, 255, 255]


def save_image(path: Path, size: tuple[int, int], **options: object) -> Document:
    Image.new("RGB", size, (10, 200, 30)).save(path, **options)
    return document(path)


def test_pictures_are_documents(child: RenderChild, tmp_path: Path) -> None:
    png = save_image(tmp_path / "a.png", (280, 140))
    jpeg = save_image(tmp_path / "a.jpg", (600, 300), dpi=(300, 300))
    frames = [Image.new("L", (140, 140), shade) for shade in (0, 100, 200)]
    frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:])
    tiff = document(tmp_path / "a.tiff")
    assert [child.count_pages(d) for d in (png, jpeg, tiff)] == [1, 1, 3]
    image = next(iter(child.render(png, [1], 200, LARGE)))
    assert isinstance(image, PageImage)
    assert (image.width_px, image.height_px, image.width_pt) == (280, 140, 280)  # never enlarged beyond its own pixels
    assert decode_image(image)[5, 5].tolist() == [10, 200, 30]
    image = next(iter(child.render(jpeg, [1], 150, LARGE)))
    assert isinstance(image, PageImage)
    assert (image.width_px, image.height_px, image.width_pt) == (308, 140, 144)
    shades = [decode_image(p)[9, 9, 0] for p in child.render(tiff, [1, 2, 3], 200, LARGE) if isinstance(p, PageImage)]
    assert shades == [0, 100, 200]
    assert child.measure(tiff, [1, 2, 3, 4], 200, LARGE) == (25, 25, 25, None)


def test_a_picture_is_turned_upright(child: RenderChild, tmp_path: Path) -> None:
    picture = Image.new("RGB", (280, 140), (255, 255, 255))
    picture.paste((255, 0, 0), (0, 0, 40, 140))  # the left edge, which is the top once turned
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    image = next(iter(child.render(document(tmp_path / "a.png"), [1], 200, LARGE)))
    assert isinstance(image, PageImage)
    assert (image.width_px, image.height_px) == (140, 280)
    assert decode_image(image)[10, 70].tolist() == [255, 0, 0]
    assert decode_image(image)[200, 70].tolist() == [255, 255, 255]


def broken(folder: Path, kind: str) -> Path:
    """A file of each kind that cannot be read."""
    path = folder / f"{kind}.pdf"
    if kind == "encrypted":
        with pymupdf.open() as pdf:
            pdf.new_page()
            pdf.save(path, encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="u", owner_pw="o")
    elif kind == "huge":
        make_pdf(path, 1, 14_400, 14_400)
    elif kind == "bomb":
        Image.new("L", (30_000, 30_000)).save(path, "PNG")
    else:
        whole = io.BytesIO()
        with pymupdf.open() as pdf:
            pdf.new_page()
            pdf.save(whole)
        content = {
            "text": b"Dear Sir or Madam,\n" * 100,
            "empty": b"",
            "garbage": b"%PDF-1.7\n" + os.urandom(3000),
            "truncated": whole.getvalue()[:60],
            "no_pages": b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>"
            b"endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
            "half_png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        }
        path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "error_types"),
    [
        ("encrypted", {"EncryptedDocument"}),
        ("text", {"UnsupportedDocument"}),
        ("empty", {"EmptyDocument"}),
        ("garbage", {"CorruptDocument", "EmptyDocument"}),
        ("truncated", {"CorruptDocument", "EmptyDocument"}),
        ("no_pages", {"CorruptDocument", "EmptyDocument"}),
        ("half_png", {"CorruptDocument"}),
        ("bomb", {"PageTooLarge"}),
    ],
)
def test_documents_that_cannot_be_opened_say_why(
    child: RenderChild, tmp_path: Path, kind: str, error_types: set[str]
) -> None:
    with pytest.raises(PageError) as error:
        child.count_pages(document(broken(tmp_path, kind)))
    assert (error.value.stage, error.value.error_type in error_types) == ("open", True), error.value
    assert child.count_pages(make_pdf(tmp_path / "good.pdf")) == 2


def test_a_page_that_is_too_large(child: RenderChild, tmp_path: Path) -> None:
    huge = document(broken(tmp_path, "huge"))
    assert child.count_pages(huge) == 1
    failed = next(iter(child.render(huge, [1], 200, BUDGET)))
    assert isinstance(failed, PageFailure)
    assert (failed.failure.stage, failed.failure.error_type) == ("render", "PageTooLarge")
    assert "lower --dpi" in failed.failure.error_message


def test_a_document_with_an_empty_user_password_opens(child: RenderChild, tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="", owner_pw="owner")
    assert child.count_pages(pdf) == 2


def test_a_document_that_vanished(child: RenderChild, tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf")
    (tmp_path / "a.pdf").unlink()
    with pytest.raises(PageError, match="DocumentNotFound"):
        child.count_pages(pdf)


def test_remote_documents_are_fetched_and_forgotten(tmp_path: Path) -> None:
    make_pdf(tmp_path / "a.pdf")
    with fsspec.open("memory://pdfs/a.pdf", "wb") as file:
        file.write((tmp_path / "a.pdf").read_bytes())
    remote = list_documents(["memory://pdfs"])[0]
    local = document(tmp_path / "a.pdf")
    with RenderChild() as child:
        assert child.count_pages(remote) == 2
        assert child.sha256(remote) == child.sha256(local)
        scratch = child._scratch
        assert scratch is not None
        a, b = (next(iter(child.render(d, [2], 72, BUDGET))) for d in (remote, local))
        assert isinstance(a, PageImage)
        assert isinstance(b, PageImage)
        assert a.data == b.data
    assert not scratch.exists()


def test_a_hung_renderer_is_killed_and_replaced(tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf", pages=3)
    with RenderChild(RenderLimits(open_seconds=20, page_seconds=1)) as child:
        assert child.count_pages(pdf) == 3
        assert child._process is not None
        first = child._process.pid
        os.kill(first, signal.SIGSTOP)
        failed, second, third = child.render(pdf, [1, 2, 3], 72, BUDGET)
        assert isinstance(failed, PageFailure)
        assert failed.failure.error_type == "RenderTimeout"
        assert isinstance(second, PageImage)
        assert isinstance(third, PageImage)
        assert child._process.pid != first


def test_a_renderer_that_dies_costs_one_page(tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf", pages=2)
    with RenderChild() as child:
        child.count_pages(pdf)
        assert child._process is not None
        os.kill(child._process.pid, signal.SIGSTOP)  # so that it dies on the request, not before it
        victim = child._process.pid
        threading.Timer(0.5, lambda: os.kill(victim, signal.SIGKILL)).start()
        failed, second = child.render(pdf, [1, 2], 72, BUDGET)
    assert isinstance(failed, PageFailure)
    assert failed.failure.error_type == "RenderCrash"
    assert "signal 9" in failed.failure.error_message
    assert isinstance(second, PageImage)


def test_the_memory_limit_costs_one_page(tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf", pages=1, width=5000, height=5000)
    with RenderChild(RenderLimits(memory_bytes=700 << 20)) as child:
        wide = PixelBudget(28, 3136, 250_000_000)
        failed = next(iter(child.render(pdf, [1], 220, wide)))
        assert isinstance(failed, PageFailure)
        assert failed.failure.error_type in {"RenderOutOfMemory", "CorruptPage", "RenderCrash"}
        assert isinstance(next(iter(child.render(pdf, [1], 20, BUDGET))), PageImage)


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "a.pdf")
    with RenderChild() as child:
        child.count_pages(pdf)
        assert child._process is not None
        pid = child._process.pid
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
