from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pymupdf
import pytest

from glimpseprune.rule import KeepRule
from pipeline.errors import PageError
from pipeline.pages.bundle_pages import render_bundle
from pipeline.pages.limits import RenderLimits
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import (
    AnswerSettings,
    Bundle,
    Document,
    Failure,
    Image,
    PageFailure,
    PageImage,
    PixelBudget,
    Unit,
)
from tests.support.hostile import Put, as_document, encrypted_pdf, png_of_size, raw_pdf, text_pdf

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
LARGE = PixelBudget(28, 3136, 28 * 28 * 16384, "pipeline.families.qwen2_5_vl")
GIB = 1 << 30


@pytest.fixture(scope="module")
def child() -> Iterator[RenderChild]:
    with RenderChild(RenderLimits(open_seconds=60, page_seconds=60, memory_bytes=GIB)) as shared:
        yield shared


def rendered(child: RenderChild, document: Document, page: int = 1, dpi: int = 72) -> tuple[PageImage, Image]:
    (image,) = child.render(document, [page], dpi, BUDGET)
    assert isinstance(image, PageImage), image
    return image, decode_image(image)


def failed(child: RenderChild, document: Document, page: int = 1, dpi: int = 72) -> Failure:
    (result,) = child.render(document, [page], dpi, BUDGET)
    assert isinstance(result, PageFailure), result
    assert (result.document_id, result.page) == (document.document_id, page)
    return result.failure


def refusal(child: RenderChild, document: Document) -> PageError:
    with pytest.raises(PageError) as caught:
        child.count_pages(document)
    assert caught.value.stage == "open"
    return caught.value


def test_pages_come_in_the_order_asked_and_at_the_size_the_model_takes(child: RenderChild, put: Put) -> None:
    document = put("a.pdf", text_pdf(3))
    assert child.count_pages(document) == 3
    first, second = child.render(document, [3, 1], 72, LARGE)
    assert isinstance(first, PageImage)
    assert isinstance(second, PageImage)
    assert (first.page, second.page) == (3, 1)
    assert (first.width_pt, first.height_pt, first.width_px, first.height_px) == (595, 842, 588, 840)
    assert first.visual_tokens == 21 * 30
    assert first.dpi == pytest.approx(71.5, abs=0.1)
    assert first.render_ms > 0
    assert (first.encoding, len(first.data)) == ("raw", 588 * 840 * 3)
    assert not np.array_equal(decode_image(first), decode_image(second))


def test_pixels_are_those_of_the_page(child: RenderChild, put: Put) -> None:
    data = text_pdf(1)
    _, image = rendered(child, put("a.pdf", data))
    with pymupdf.open("pdf", data) as document:
        pixmap = document[0].get_pixmap(matrix=pymupdf.Matrix(image.shape[1] / 595, image.shape[0] / 842), alpha=False)
    expected = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3)
    assert np.array_equal(image, expected[: image.shape[0], : image.shape[1]])
    assert image.min() < 50
    assert image.max() == 255


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_page_is_drawn_as_it_is_shown_turned_and_cropped(child: RenderChild, put: Put, rotate: int) -> None:
    page = b"/MediaBox[-50 -50 400 400]/CropBox[0 0 200 100]/Rotate %d" % rotate
    _, image = rendered(child, put("a.pdf", raw_pdf(page, b"1 0 0 rg 0 50 100 50 re f 0 0 1 rg 210 0 100 100 re f")))
    turns = -rotate // 90
    assert image.shape == ((112, 196, 3) if rotate % 180 == 0 else (196, 112, 3))
    upright = np.rot90(image, -turns)
    red = np.array([255, 0, 0])
    assert (upright[4:50, 4:92] == red).all()
    assert (upright[62:108, :] == 255).all()
    assert (upright[:, 104:] == 255).all()


def test_many_pixels_travel_as_png_and_arrive_unchanged(child: RenderChild, put: Put) -> None:
    noise = random.Random(0).randbytes(30 * 30 * 3)
    content = b"q 700 0 0 700 0 0 cm BI /W 30 /H 30 /BPC 8 /CS /RGB ID " + noise + b" EI Q"
    data = raw_pdf(b"/MediaBox[0 0 700 700]", content)
    (image,) = child.render(put("a.pdf", data), [1], 144, LARGE)
    assert isinstance(image, PageImage)
    assert image.encoding == "png"
    with pymupdf.open("pdf", data) as document:
        pixmap = document[0].get_pixmap(matrix=pymupdf.Matrix(2, 2), alpha=False)
    assert (pixmap.width, pixmap.height) == (1400, 1400)
    assert np.array_equal(decode_image(image), np.frombuffer(pixmap.samples, np.uint8).reshape(1400, 1400, 3))


def test_a_document_is_known_by_its_content_not_its_name(child: RenderChild, put: Put) -> None:
    assert child.count_pages(put("scan.png", text_pdf(2))) == 2
    assert child.count_pages(put("b.pdf", b"\n\n# sent by mail\n" + text_pdf(2))) == 2


def test_a_page_that_is_not_there(child: RenderChild, put: Put) -> None:
    document = put("a.pdf", text_pdf(2))
    failure = failed(child, document, page=3)
    assert (failure.stage, failure.error_type) == ("render", "NoSuchPage")
    assert failure.error_message == "page 3 was asked for, the document has 2"
    assert failed(child, document, page=0).error_type == "NoSuchPage"


@pytest.mark.parametrize(
    ("data", "error_type"),
    [
        (b"", "EmptyDocument"),
        (b"Dear Sir or Madam,\n" * 100, "UnsupportedDocument"),
        (b"PK\x03\x04" + bytes(500), "UnsupportedDocument"),
        (b"GIF89a" + bytes(500), "CorruptDocument"),
        (b"%PDF-1.7\n" + random.Random(1).randbytes(20_000), "CorruptDocument"),
        (text_pdf(1)[:40], "CorruptDocument"),
        (encrypted_pdf("secret"), "EncryptedDocument"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "CorruptDocument"),
        (b"\xff\xd8\xff" + bytes(100), "CorruptDocument"),
        (b"II*\x00" + b"\xff" * 100, "CorruptDocument"),
        (png_of_size(30_000, 30_000), "PageTooLarge"),
    ],
)
def test_a_document_that_cannot_be_opened_says_why(child: RenderChild, put: Put, data: bytes, error_type: str) -> None:
    document = put("a.pdf", data)
    error = refusal(child, document)
    assert error.error_type == error_type
    results = list(child.render(document, [1, 2], 72, BUDGET))
    expected = Failure("open", error_type, error.message)
    assert results == [PageFailure(document.document_id, page, expected) for page in (1, 2)]


def test_an_empty_user_password_lets_everybody_read(child: RenderChild, put: Put) -> None:
    _, image = rendered(child, put("a.pdf", encrypted_pdf("")))
    assert np.array_equal(image, rendered(child, put("b.pdf", text_pdf(1)))[1])


def test_a_truncated_pdf_is_read_as_far_as_it_goes(child: RenderChild, put: Put) -> None:
    whole = text_pdf(1)
    without_table = put("a.pdf", whole[: whole.index(b"xref")])
    assert child.count_pages(without_table) == 1
    assert np.array_equal(rendered(child, without_table)[1], rendered(child, put("b.pdf", whole))[1])


@pytest.mark.parametrize(
    ("page", "dpi", "error_type"),
    [
        (b"/MediaBox[0 0 14400 14400]", 200, "PageTooLarge"),
        (b"/MediaBox[0 0 600 800]/UserUnit 1000000", 72, "PageTooLarge"),
        (b"/MediaBox[0 0 5000 10]", 72, "PageTooLong"),
    ],
)
def test_a_page_of_impossible_size_costs_that_page(
    child: RenderChild, put: Put, page: bytes, dpi: int, error_type: str
) -> None:
    document = put("a.pdf", raw_pdf(page))
    assert child.count_pages(document) == 1
    failure = failed(child, document, dpi=dpi)
    assert (failure.stage, failure.error_type) == ("render", error_type)


def test_a_page_tree_that_contains_itself_is_built_anew(child: RenderChild, put: Put) -> None:
    data = raw_pdf(content=b"0 0 50 50 re f", count=2)
    document = put("a.pdf", data.replace(b"Kids[3 0 R]", b"Kids[2 0 R 2 0 R]"))
    assert child.count_pages(document) == 1
    image, _ = rendered(child, document)
    assert image.is_repaired


def test_flipped_bits_never_raise_anything_untyped(
    child: RenderChild, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(7)
    sound = text_pdf(2)
    known = {
        "CorruptDocument",
        "EmptyDocument",
        "UnsupportedDocument",
        "EncryptedDocument",
        "CorruptPage",
        "DamagedDocument",
    }
    outcomes = set()
    for number in range(150):
        data = bytearray(sound[: rng.randrange(len(sound))] if number % 5 == 0 else sound)
        for _ in range(rng.choice([1, 5, 40])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path = tmp_path / f"{number}.pdf"
        path.write_bytes(data)
        for result in child.render(as_document(path), [1, 2], 36, BUDGET):
            outcomes.add("image" if isinstance(result, PageImage) else result.failure.error_type)
    assert {"image", "CorruptDocument"} <= outcomes
    assert outcomes <= known | {"image", "NoSuchPage", "PageTooLarge", "PageTooLong"}
    assert capfd.readouterr() == ("", "")


def test_a_file_replaced_under_its_name_is_opened_again(child: RenderChild, put: Put) -> None:
    assert child.count_pages(put("a.pdf", text_pdf(1))) == 1
    assert child.count_pages(put("a.pdf", text_pdf(2))) == 2


def test_sha256_is_that_of_the_bytes(child: RenderChild, put: Put) -> None:
    data = text_pdf(1)
    assert child.sha256(put("a.pdf", data)) == hashlib.sha256(data).hexdigest()


def test_a_file_that_vanished(child: RenderChild, put: Put, tmp_path: Path) -> None:
    document = put("a.pdf", text_pdf(1))
    (tmp_path / "a.pdf").unlink()
    assert refusal(child, document).error_type == "DocumentNotFound"
    with pytest.raises(PageError, match="DocumentNotFound"):
        child.sha256(document)
    assert failed(child, document) == Failure("open", "DocumentNotFound", "the file is gone since it was listed")
    folder = Document("f", "f", str(tmp_path), 0, "")
    assert refusal(child, folder).error_type == "DocumentUnreadable"


def test_a_remote_document_is_copied_once_and_cleaned_up(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    memory = fsspec.filesystem("memory")
    data = text_pdf(2)
    memory.pipe("/docs/a.pdf", data)
    memory.pipe("/docs/b.pdf", text_pdf(1))
    first, second, gone = (Document(n, f"{n}.pdf", f"memory:///docs/{n}.pdf", 0, "v") for n in "abc")
    with RenderChild() as child:
        assert child.count_pages(first) == 2
        memory.rm("/docs/a.pdf")
        assert isinstance(next(child.render(first, [2], 72, BUDGET)), PageImage)
        assert child.sha256(first) == hashlib.sha256(data).hexdigest()
        assert len(list(scratch.iterdir())) == 1
        assert child.count_pages(second) == 1
        assert len(list(scratch.iterdir())) == 1
        assert refusal(child, gone).error_type == "DocumentNotFound"
        assert refusal(child, Document("x", "x", "nosuch://x", 1, "")).error_type == "DocumentUnreadable"
    assert list(scratch.iterdir()) == []


def test_measuring_gives_the_tokens_that_rendering_gives(child: RenderChild, put: Put) -> None:
    document = put("a.pdf", text_pdf(2))
    (image,) = child.render(document, [2], 100, BUDGET)
    assert isinstance(image, PageImage)
    assert child.measure(document, [2, 9, 1], 100, BUDGET) == (image.visual_tokens, None, image.visual_tokens)
    assert child.measure(document, [1] * 1200, 100, BUDGET) == (image.visual_tokens,) * 1200


def test_render_bundle_renders_what_the_bundle_needs(child: RenderChild, put: Put) -> None:
    square = raw_pdf(content=b"0 0 50 50 re f")
    good, bad, unopened = put("a.pdf", text_pdf(3)), put("b.pdf", square), put("c.pdf", b"x")
    units = (
        Unit("u1", good.document_id, "q1", (3,)),
        Unit("u2", good.document_id, "q2", (1, 3)),
        Unit("u3", bad.document_id, "q1", (1, 2)),
        Unit("u4", unopened.document_id, "q1", ()),
    )
    why = {unopened.document_id: Failure("open", "UnsupportedDocument", "no")}
    bundle = Bundle("b", (good, bad, unopened), (), units, why)
    settings = AnswerSettings("m", "f", None, None, KeepRule(), 72, BUDGET, "auto", 0)
    out = render_bundle(bundle, child, settings)
    assert out.bundle == bundle
    assert [(image.document_id, image.page) for image in out.images] == [
        (good.document_id, 1),
        (good.document_id, 3),
        (bad.document_id, 1),
    ]
    assert [(f.document_id, f.page, f.failure.error_type) for f in out.failures] == [(bad.document_id, 2, "NoSuchPage")]
    assert set(out.sha256) == {good.document_id, bad.document_id}
    assert out.sha256[bad.document_id] == hashlib.sha256(square).hexdigest()
