"""A page is read, or its failure says what is missing."""

from __future__ import annotations

import zlib

import pytest

from pipeline.errors import PageError
from pipeline.pages.mupdf_reader import MupdfReader, open_mupdf
from pipeline.pages.pdf_source import PdfSource
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Document, Failure, PageFailure, PageImage, PixelBudget
from tests.support.hostile import Put
from tests.support.written_pdf import (
    FONT,
    TREE,
    WORDS,
    many_pages_pdf,
    page,
    picture_pdf,
    stream,
    words_pdf,
    written_pdf,
)

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")


def drawn(child: RenderChild, document: Document, number: int = 1) -> PageImage:
    (result,) = child.render(document, [number], 72, BUDGET)
    assert isinstance(result, PageImage), result
    return result


def refused(child: RenderChild, document: Document, number: int = 1) -> Failure:
    (result,) = child.render(document, [number], 72, BUDGET)
    assert isinstance(result, PageFailure), result
    return result.failure


GREY = b"/ColorSpace/DeviceGray/BitsPerComponent 8"
JBIG2 = (
    b"\0\0\0\0\x30\0\1\0\0\0\x13" + (300).to_bytes(4, "big") + (200).to_bytes(4, "big") + b"\0" * 11
    # a kind of segment that MuPDF does not implement
    + b"\0\0\0\1\x24\0\1\0\0\0\x20" + b"\0" * 32
)  # fmt: skip
UNDECODABLE = {
    "jpeg": (b"12345 not a jpeg", GREY + b"/Filter/DCTDecode", "Not a JPEG file"),
    "jpx": (b"12345 not a jp2", b"/Filter/JPXDecode", "JPX"),
    "jbig2": (JBIG2, b"/ColorSpace/DeviceGray/BitsPerComponent 1/Filter/JBIG2Decode", "cannot decode jbig2 image"),
    "short": (b"few", b"/ColorSpace/DeviceRGB/BitsPerComponent 8", "padding truncated image"),
    "flate": (zlib.compress(bytes(60_000))[:20], GREY + b"/Filter/FlateDecode", "truncated"),
}


@pytest.mark.parametrize("above", [b"", b"BT /F1 24 Tf 20 100 Td (Invoice) Tj ET"], ids=["alone", "under text"])
@pytest.mark.parametrize("kind", UNDECODABLE)
def test_a_page_whose_picture_no_renderer_can_decode_fails_with_their_words(
    child: RenderChild, put: Put, kind: str, above: bytes
) -> None:
    data, keys, words = UNDECODABLE[kind]
    failure = refused(child, put("a.pdf", picture_pdf(data, keys, above)))
    assert (failure.stage, failure.error_type) == ("render", "CorruptPage")
    assert words in failure.error_message


def test_a_picture_lost_on_one_page_is_missed_on_the_next_too(child: RenderChild, put: Put) -> None:
    """MuPDF complains once and then draws what it kept: every page has to be told."""
    broken = stream(b"few", b"/Type/XObject/Subtype/Image/Width 300/Height 200" + GREY)
    shared = page(b"/XObject<</I 5 0 R>>")
    tree = b"<</Type/Pages/Kids[3 0 R 6 0 R]/Count 2>>"
    data = written_pdf([TREE[0], tree, shared, stream(b"300 0 0 200 0 0 cm /I Do"), broken, shared])
    document = put("a.pdf", data)
    assert [refused(child, document, number).error_type for number in (1, 2)] == ["CorruptPage"] * 2


def test_content_that_cannot_be_decoded_fails(child: RenderChild, put: Put) -> None:
    data = written_pdf([*TREE, page(), stream(b"garbage garbage", b"/Filter/FlateDecode")])
    assert refused(child, put("a.pdf", data)).error_type == "CorruptPage"


def test_content_that_ends_early_is_shown_and_doubted(child: RenderChild, put: Put) -> None:
    lines = b"".join(b"BT /F1 9 Tf 20 %d Td (line %d) Tj ET\n" % (190 - 9 * n, n * 7919) for n in range(20))
    cut = zlib.compress(lines)[:-40]
    data = written_pdf([*TREE, page(b"/Font<</F1 5 0 R>>"), stream(cut, b"/Filter/FlateDecode"), FONT])
    image = drawn(child, put("a.pdf", data))
    assert image.is_doubtful
    assert image.warnings is not None


def test_complaints_of_a_document_are_not_those_of_the_next(child: RenderChild, put: Put) -> None:
    """MuPDF holds back what it repeats, here while the words of the page are read."""
    cut = stream(zlib.compress(WORDS + b" %" + bytes(range(65, 91)) * 9)[:-8], b"/Filter/FlateDecode")
    twice = page(b"/Font<</F1 5 0 R>>").replace(b"/Contents 4 0 R", b"/Contents[4 0 R 4 0 R]")
    damaged = drawn(child, put("a.pdf", written_pdf([*TREE, twice, cut, FONT])))
    assert "repeated" in str(damaged.warnings)
    assert drawn(child, put("b.pdf", words_pdf())).warnings is None


def test_a_sound_page_has_no_warnings_and_no_doubt(child: RenderChild, put: Put) -> None:
    image = drawn(child, put("a.pdf", words_pdf()))
    assert (image.renderer, image.warnings, image.is_repaired) == ("mupdf", None, False)
    assert (image.is_doubtful, image.blank) == (False, False)


def test_a_page_that_only_the_second_renderer_shows_is_drawn_by_it(child: RenderChild, put: Put) -> None:
    """PDFium passes over a dictionary with a broken key; MuPDF loses the object."""
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Odd 1 0 R 2>>"
    data = written_pdf([*TREE, page(b"/Font<</F1 5 0 R>>"), stream(WORDS), font])
    image = drawn(child, put("a.pdf", data))
    assert (decode_image(image) < 128).any()


@pytest.mark.parametrize("content", [b"", b"1 1 1 rg 0 0 300 200 re f", b"BT /F1 24 Tf 3 Tr 20 100 Td (hidden) Tj ET"])
def test_a_page_that_is_blank_on_purpose_is_blank(child: RenderChild, put: Put, content: bytes) -> None:
    assert drawn(child, put("a.pdf", words_pdf(content))).blank


FLATE = b"/Filter/FlateDecode"
NOTHING = stream(b"", FLATE)
FORM = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]"
EMPTY_FORM = stream(b"", FLATE + FORM)
NOTE = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/F 4/Rect[10 10 50 50]/AP<</N 6 0 R>>>>"
OUTER_FORM = stream(b"/X Do", FORM + b"/Resources<</XObject<</X 6 0 R>>>>")
SQUARE = b"20 20 50 50 re f "
SQUARE_AND_FORM = stream(SQUARE + b"/X Do")


@pytest.mark.parametrize("filters", [FLATE, b"/Filter[/ASCII85Decode/FlateDecode]", b"/Filter/LZWDecode"])
def test_a_page_whose_content_has_no_bytes_is_blank(child: RenderChild, put: Put, filters: bytes) -> None:
    image = drawn(child, put("a.pdf", written_pdf([*TREE, page(), stream(b"", filters)])))
    assert (image.blank, image.is_doubtful, image.warnings) == (True, False, None)


@pytest.mark.parametrize(
    "objects",
    [
        [page(b"/XObject<</X 5 0 R>>"), SQUARE_AND_FORM, EMPTY_FORM],
        [page(b"/XObject<</X 5 0 R>>"), SQUARE_AND_FORM, OUTER_FORM, EMPTY_FORM],
        [page(keys=b"/Annots[5 0 R]"), stream(SQUARE), NOTE, EMPTY_FORM],
        [page(keys=b"/Annots[5 0 R]"), NOTHING, NOTE, stream(b"1 0 0 rg 0 0 9 9 re f", FORM)],
        [page().replace(b"/Contents 4 0 R", b"/Contents[5 0 R 4 0 R]"), stream(SQUARE), NOTHING],
    ],
    ids=["form", "form in form", "appearance", "under a note", "one of two contents"],
)
def test_a_part_without_bytes_casts_no_doubt_on_a_page(child: RenderChild, put: Put, objects: list[bytes]) -> None:
    image = drawn(child, put("a.pdf", written_pdf([*TREE, *objects])))
    assert (image.blank, image.is_doubtful, image.warnings) == (False, False, None)


@pytest.mark.parametrize("kept", [len(zlib.compress(WORDS)), 2])
def test_content_whose_length_is_wrongly_zero_is_read_or_missed(child: RenderChild, put: Put, kept: int) -> None:
    content = stream(zlib.compress(WORDS)[:kept], FLATE).replace(b"/Length %d" % kept, b"/Length 0")
    document = put("a.pdf", written_pdf([*TREE, page(b"/Font<</F1 5 0 R>>"), content, FONT]))
    if kept == 2:
        assert refused(child, document).error_type == "CorruptPage"
    else:
        assert (decode_image(drawn(child, document)) < 128).any()


def test_a_page_that_is_empty_though_its_content_draws_something_fails(child: RenderChild, put: Put) -> None:
    font = b"<</Type/Font/Subtype/Type3/FontBBox[0 0 1 1]/FontMatrix[1 0 0 1 0 0]/CharProcs<<>>/Encoding<<>>>>"
    words = b"BT /F1 24 Tf 20 100 Td (TOTAL) Tj ET"
    data = written_pdf([*TREE, page(b"/Font<</F1 5 0 R>>"), stream(words), font])
    result = next(child.render(put("a.pdf", data), [1], 72, BUDGET))
    assert isinstance(result, PageFailure) or not result.blank


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_what_leaves_no_ink_is_missed_on_a_turned_page_too(put: Put, rotate: int) -> None:
    words = b"BT /F1 24 Tf 220 100 Td (TOTAL) Tj ET"  # beyond the edge, were the page not turned
    data = written_pdf([*TREE, page(b"/Font<</F1 5 0 R>>", b"/Rotate %d" % rotate), stream(words), FONT])
    source = PdfSource(put("a.pdf", data).uri)
    assert MupdfReader(source, open_mupdf(source)).leaves_ink(0, (255, 255, 255))


def test_pages_of_a_document_cut_short_fail_where_nothing_is_left(child: RenderChild, put: Put) -> None:
    whole = many_pages_pdf([WORDS] * 20)
    document = put("a.pdf", whole[: len(whole) * 7 // 10])
    assert child.count_pages(document) == 20
    results = list(child.render(document, range(1, 21), 72, BUDGET))
    images = [result for result in results if isinstance(result, PageImage)]
    assert 10 <= len(images) < 20
    assert all(image.is_repaired and not image.blank for image in images)
    assert {r.failure.error_type for r in results if isinstance(r, PageFailure)} <= {"DamagedDocument", "CorruptPage"}


def test_damage_that_shows_only_at_a_page_counts_from_there_on(child: RenderChild, put: Put) -> None:
    whole = many_pages_pdf([*[WORDS] * 5, b""])
    hole = whole.index(b"9 0 obj")  # content of the third page
    document = put("a.pdf", whole[:hole] + bytes(20) + whole[hole + 20 :])
    results = list(child.render(document, range(1, 7), 72, BUDGET))
    known = [result.is_repaired if isinstance(result, PageImage) else result.failure.error_type for result in results]
    assert known == [False, False, "CorruptPage", True, True, "DamagedDocument"]


TREES = {
    "pages is a page": words_pdf().replace(b"/Pages 2 0 R", b"/Pages 3 0 R"),
    "count zero": words_pdf().replace(b"/Count 1", b"/Count 0"),
    "count too high": words_pdf().replace(b"/Count 1", b"/Count 9"),
    "count negative": words_pdf().replace(b"/Count 1>>", b"/Count -3>"[:-1] + b">>"),
    "no count": words_pdf().replace(b"/Count 1", b"        "),
    "no type of pages": words_pdf().replace(b"/Type/Pages", b"/Type/Pagex"),
    "root is no catalog": words_pdf().replace(b"/Root 1 0 R", b"/Root 5 0 R"),
    "bytes before the header": b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n" * 40 + words_pdf(),
    "no header": words_pdf().replace(b"%PDF-1.7", b"%xxx-1.7"),
}


@pytest.mark.parametrize("kind", TREES)
def test_a_slightly_wrong_file_is_mended_and_read(child: RenderChild, put: Put, kind: str) -> None:
    document = put("a.pdf", TREES[kind])
    assert child.count_pages(document) == 1
    assert (decode_image(drawn(child, document)) < 128).any()


def test_pages_beyond_the_stated_count_are_found(child: RenderChild, put: Put) -> None:
    document = put("a.pdf", many_pages_pdf([WORDS] * 5, count=1))
    assert child.count_pages(document) == 5
    assert drawn(child, document, 5).width_pt == 300  # the size stands in the node above


def same_page_twice(count: int) -> bytes:
    """A page tree that lists its first page twice, and states ``count`` pages."""
    tree = b"<</Type/Pages/Kids[3 0 R 3 0 R 6 0 R]/Count %d>>" % count
    last = page(b"/Font<</F1 5 0 R>>").replace(b"300 200", b"400 200")
    return written_pdf([TREE[0], tree, page(b"/Font<</F1 5 0 R>>"), stream(WORDS), FONT, last])


@pytest.mark.parametrize(("count", "is_repaired"), [(3, False), (1, True)])
def test_a_page_that_is_listed_twice_is_two_pages(child: RenderChild, put: Put, count: int, is_repaired: bool) -> None:
    document = put("a.pdf", same_page_twice(count))
    assert child.count_pages(document) == 3
    images = [drawn(child, document, number) for number in (1, 2, 3)]
    assert [image.width_pt for image in images] == [300, 300, 400]
    assert {(image.renderer, image.is_repaired) for image in images} == {("mupdf", is_repaired)}


def test_pages_below_a_node_that_is_listed_twice_are_there_twice(child: RenderChild, put: Put) -> None:
    tree = b"<</Type/Pages/Kids[6 0 R 6 0 R]/Count 2>>"
    node = b"<</Type/Pages/Parent 2 0 R/Kids[3 0 R]/Count 1>>"
    data = written_pdf([TREE[0], tree, page(b"/Font<</F1 5 0 R>>"), stream(WORDS), FONT, node])
    document = put("a.pdf", data)
    assert child.count_pages(document) == 2
    assert not drawn(child, document, 2).is_repaired


@pytest.mark.parametrize("count", [1, 2**40])
def test_a_page_tree_that_doubles_at_each_node_is_read_with_each_page_once(
    child: RenderChild, put: Put, count: int
) -> None:
    tree = b"<</Type/Pages/Kids[6 0 R 6 0 R]/Count %d>>" % count
    nodes = [b"<</Type/Pages/Kids[%d 0 R %d 0 R]>>" % (number, number) for number in range(7, 46)]
    last = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    data = written_pdf([TREE[0], tree, page(b"/Font<</F1 5 0 R>>"), stream(WORDS), FONT, *nodes, last])
    document = put("a.pdf", data)
    assert child.count_pages(document) == 1
    assert drawn(child, document).is_repaired


def test_a_node_inside_itself_is_passed_over(child: RenderChild, put: Put) -> None:
    tree = b"<</Type/Pages/Kids[3 0 R 2 0 R]/Count 2>>"
    document = put("a.pdf", written_pdf([TREE[0], tree, page(b"/Font<</F1 5 0 R>>"), stream(WORDS), FONT]))
    assert child.count_pages(document) == 1


CERTIFICATE = (
    b"/Encrypt<</Filter/Adobe.PubSec/SubFilter/adbe.pkcs7.s5/V 4/CF<</DefaultCryptFilter<</CFM/AESV2/Length 128"
    b"/Recipients[<00>]>>>>/StmF/DefaultCryptFilter/StrF/DefaultCryptFilter>>/ID[<00><00>]"
)
UNKNOWN = b"/Encrypt<</Filter/Standard/V 9/R 9/O<00>/U<00>/P -1>>/ID[<00><00>]"


@pytest.mark.parametrize(
    ("trailer", "word"), [(CERTIFICATE, "certificate"), (UNKNOWN, "encrypted")], ids=["certificate", "unknown"]
)
def test_encryption_that_no_renderer_opens_is_named(child: RenderChild, put: Put, trailer: bytes, word: str) -> None:
    with pytest.raises(PageError, match=word) as refusal:
        child.count_pages(put("a.pdf", words_pdf(trailer=trailer)))
    assert refusal.value.error_type == "EncryptedDocument"


def test_encryption_of_attachments_alone_does_not_hide_the_pages(child: RenderChild, put: Put) -> None:
    owner, user = b"<%s>" % (b"12" * 32), b"<%s>" % (b"ab" * 32)
    encrypt = (
        b"/Encrypt<</Filter/Standard/V 4/R 4/Length 128/P -4/O%s/U%s/CF<</StdCF<</CFM/AESV2/Length 16"
        b"/AuthEvent/EFOpen>>>>/StmF/Identity/StrF/Identity/EFF/StdCF>>/ID[<00><00>]" % (owner, user)
    )
    assert (decode_image(drawn(child, put("a.pdf", words_pdf(trailer=encrypt)))) < 128).any()


def test_a_dynamic_form_is_not_its_placeholder(child: RenderChild, put: Put) -> None:
    xfa = b"/AcroForm<</Fields[]/XFA 6 0 R>>/NeedsRendering true"
    with pytest.raises(PageError, match="XFA") as refusal:
        child.count_pages(put("a.pdf", words_pdf(catalog=xfa, objects=[stream(b"<xdp/>")])))
    assert refusal.value.error_type == "UnsupportedDocument"


def test_a_static_form_is_read(child: RenderChild, put: Put) -> None:
    field = b"<</FT/Tx/T(name)/Type/Annot/Subtype/Widget/Rect[0 0 9 9]>>"
    form = b"/AcroForm<</Fields[7 0 R]/XFA 6 0 R>>"
    document = put("a.pdf", words_pdf(catalog=form, objects=[stream(b"<xdp/>"), field]))
    assert child.count_pages(document) == 1


@pytest.mark.parametrize("data", [b"<html><body>hello</body></html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_mupdf_takes_for_another_format_is_unsupported(child: RenderChild, put: Put, data: bytes) -> None:
    with pytest.raises(PageError) as refusal:
        child.count_pages(put("a.pdf", data))
    assert refusal.value.error_type == "UnsupportedDocument"


@pytest.mark.parametrize(("codes", "is_doubtful"), [("TOTAL 1234.56", True), ("", False)])
def test_a_page_whose_font_is_missing_needs_review_where_the_renderers_guess_other_letters(
    child: RenderChild, put: Put, codes: str, is_doubtful: bool
) -> None:
    guessed = b"BT /F2 20 Tf 20 40 Td <%s> Tj ET" % "".join(f"{ord(code):04x}" for code in codes).encode()
    font = b"<</Type/Font/Subtype/%s/BaseFont/ArialMT%s>>"
    descriptor = b"<</Type/FontDescriptor/FontName/ArialMT/Flags 4/FontBBox[-558 -306 2000 1025]/StemV 80>>"
    kind = b"/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/DW 600/FontDescriptor 8 0 R"
    objects = [page(b"/Font<</F1 5 0 R/F2 6 0 R>>"), stream(WORDS + b" " + guessed), FONT]
    objects += [font % (b"Type0", b"/Encoding/Identity-H/DescendantFonts[7 0 R]"), font % (b"CIDFontType2", kind)]
    image = drawn(child, put("guessed.pdf", written_pdf([*TREE, *objects, descriptor])))
    assert "non-embedded font" in str(image.warnings)
    assert (image.renderer, image.is_doubtful) == ("mupdf", is_doubtful)
