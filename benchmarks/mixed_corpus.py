"""Writes a folder as people have them: sound documents, files that are none, and files with something wrong.

Each file with something wrong stands beside what a run must make of it, see ``Expected``.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pymupdf
import tifffile
from PIL import Image

READ = frozenset({"answered", "not_answerable", "needs_review"})
_IMAGE_KINDS = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF"}
_IGNORED = (".docx", ".txt", ".xlsx", ".zip", ".html", ".eml", ".md", "")
_FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
_TREE = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"]


@dataclass(frozen=True, slots=True)
class Expected:
    """Says what a run must make of a document.

    Attributes:
        statuses: every row's status is one of these.
        errors: every failed row's ``error_type`` is one of these.
        failed: whether at least one row fails, for certain.
        blank: whether a page may be taken for an empty one.
    """

    statuses: frozenset[str]
    errors: frozenset[str] = frozenset()
    failed: bool = False
    blank: bool = False


def _read() -> Expected:
    return Expected(READ)


def _refused(*errors: str) -> Expected:
    return Expected(frozenset({"failed"}), frozenset(errors), failed=True)


def _damaged(*errors: str) -> Expected:
    """Answered where something is left, else failed; never taken for an empty page."""
    return Expected(READ | {"failed"}, frozenset(errors))


def written(objects: list[bytes], trailer: bytes = b"") -> bytes:
    """Return a sound PDF of these objects, numbered from 1; the first is the catalog."""
    data, starts = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        starts.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    size = len(starts) + 1
    ending = b"trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + ending


def _stream(data: bytes, keys: bytes = b"") -> bytes:
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(data), keys, data)


def _page(resources: bytes) -> bytes:
    return b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<<%s>>>>" % resources


def _words(trailer: bytes = b"") -> bytes:
    text = _stream(b"BT /F1 24 Tf 20 100 Td (TOTAL 1234.56) Tj ET")
    return written([*_TREE, _page(b"/Font<</F1 5 0 R>>"), text, _FONT], trailer)


def _picture(data: bytes, keys: bytes) -> bytes:
    picture = _stream(data, b"/Type/XObject/Subtype/Image/Width 300/Height 200" + keys)
    return written([*_TREE, _page(b"/XObject<</I 5 0 R>>"), _stream(b"q 300 0 0 200 0 0 cm /I Do Q"), picture])


def _hanging(pages: int = 4, depth: int = 40) -> bytes:
    """Pages of 2 ** depth nested forms each, which no renderer finishes."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]"
    nested = [
        _stream(b"/X Do /X Do", form + b"/Resources<</XObject<</X %d 0 R>>>>" % (5 + level)) for level in range(depth)
    ]
    nested.append(_stream(b"0 0 9 9 re f", form))
    kids = b" ".join(b"%d 0 R" % (4 + len(nested) + number) for number in range(pages))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 3 0 R/Resources<</XObject<</X 4 0 R>>>>>>"
    tree = b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages)
    return written([_TREE[0], tree, _stream(b"/X Do"), *nested, *[page] * pages])


def text_pdf(lines: list[list[str]]) -> pymupdf.Document:
    """Return a PDF of one small page for each list of lines."""
    document = pymupdf.open()
    for page_lines in lines:
        page = document.new_page(width=320, height=200)
        for number, line in enumerate(page_lines):
            page.insert_text((24, 40 + 28 * number), line, fontsize=12)
    return document


def invoice_lines(rng: random.Random) -> list[str]:
    """Return four lines of a small invoice."""
    return [
        f"Invoice number: {rng.choice(('INV', 'RE', 'A', 'SO'))}-{rng.randrange(10**6)}",
        f"Date: {rng.randrange(1, 29):02d}.{rng.randrange(1, 13):02d}.{rng.randrange(1990, 2040)}",
        f"Customer: {rng.choice(('Mara Holt', 'Jens Bakke', 'Uma Rao', 'Leo Fink'))}",
        f"Total: {rng.randrange(10, 10**5)}.{rng.randrange(100):02d}",
    ]


def _encrypted(rng: random.Random) -> bytes:
    how = rng.choice((pymupdf.PDF_ENCRYPT_RC4_128, pymupdf.PDF_ENCRYPT_AES_128, pymupdf.PDF_ENCRYPT_AES_256))
    return bytes(text_pdf([invoice_lines(rng)]).tobytes(encryption=how, owner_pw="owner", user_pw="user"))


def _portfolio(rng: random.Random) -> bytes:
    cover = text_pdf([["For the best experience, open this PDF portfolio in Acrobat."]])
    for name in ("offer.pdf", "terms.pdf"):
        cover.embfile_add(name, text_pdf([invoice_lines(rng)]).tobytes(), filename=name)
    cover.xref_set_key(cover.pdf_catalog(), "Collection", "<</Type/Collection/View/D>>")
    return bytes(cover.tobytes())


def _dynamic_xfa() -> bytes:
    template = b'<template xmlns="http://www.xfa.org/schema/xfa-template/3.0/"><subform name="f"/></template>'
    return written(
        [
            b"<</Type/Catalog/Pages 2 0 R/NeedsRendering true/AcroForm<</Fields[]/XFA[(template) 6 0 R]>>>>",
            _TREE[1],
            _page(b"/Font<</F1 5 0 R>>"),
            _stream(b"BT /F1 12 Tf 20 100 Td (Please wait...) Tj ET"),
            _FONT,
            _stream(template),
        ]
    )


def _tiff(pixels: np.ndarray, **how: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **how)
    return out.getvalue()


def _picture_of(rng: random.Random) -> Image.Image:
    pixmap = text_pdf([invoice_lines(rng)])[0].get_pixmap(dpi=144)
    return Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)


def _wrong_pdfs(rng: random.Random) -> Iterator[tuple[str, bytes, Expected]]:
    for number in range(4):
        yield f"locked {number}.pdf", _encrypted(rng), _refused("EncryptedDocument")
    certificate = b"/Encrypt<</Filter/Adobe.PubSec/SubFilter/adbe.pkcs7.s5/V 4>>/ID[<00><00>]"
    yield "certificate.pdf", _words(certificate), _refused("EncryptedDocument")
    for number in range(6):
        whole = text_pdf([invoice_lines(rng) for _ in range(8)]).tobytes()
        cut = whole[: int(len(whole) * rng.uniform(0.5, 0.9))]
        yield f"cut {number}.pdf", cut, _damaged("DamagedDocument", "CorruptDocument", "CorruptPage")
    good = _words()
    for name, old, new in (
        ("pages is a page", b"/Pages 2 0 R", b"/Pages 3 0 R"),
        ("count zero", b"/Count 1", b"/Count 0"),
        ("count nine", b"/Count 1", b"/Count 9"),
        ("no count", b"/Count 1", b"        "),
    ):
        yield f"{name}.pdf", good.replace(old, new), _read()
    yield "late header.pdf", b"\r\nX-Scanner: 7\r\n\r\n" + good, _read()
    for name, data, keys in (
        ("jpeg", b"12345 not a jpeg", b"/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/DCTDecode"),
        ("jpx", b"12345 not a jp2", b"/Filter/JPXDecode"),
        ("jbig2", bytes(range(99)), b"/ColorSpace/DeviceGray/BitsPerComponent 1/Filter/JBIG2Decode"),
        ("short", b"few", b"/ColorSpace/DeviceRGB/BitsPerComponent 8"),
    ):
        yield f"{name}.pdf", _picture(data, keys), _damaged("CorruptPage")
    garbage = written([*_TREE, _page(b""), _stream(b"garbage garbage", b"/Filter/FlateDecode")])
    yield "content.pdf", garbage, _refused("CorruptPage")
    yield "xfa.pdf", _dynamic_xfa(), _refused("UnsupportedDocument")
    yield "portfolio.pdf", _portfolio(rng), _refused("UnsupportedDocument")
    yield "blank.pdf", text_pdf([[]]).tobytes(), Expected(frozenset({"not_answerable"}), blank=True)
    yield "hangs.pdf", _hanging(), _refused("RenderTimeout", "RenderCrash")
    unread = ("UnsupportedDocument", "CorruptDocument", "EmptyDocument")
    yield "letter.pdf", b"This is a letter, and not a PDF.\n" * 50, _refused(*unread)
    yield "404.pdf", b"<!doctype html><title>404</title>", _refused(*unread)
    yield "zeros.pdf", bytes(20_000), _refused(*unread)
    yield "empty.pdf", b"", _refused(*unread)
    yield "header.pdf", b"%PDF-1.7\n", _refused(*unread)
    for name in ("Vertrag::v2.pdf", "a#b?c.pdf", "50% off.pdf", 'it\'s "it".pdf', "line\nbreak.pdf", "-x[1].pdf"):
        yield name, good, _read()
    yield os.fsdecode(b"M\xfcller.pdf"), good, _read()


def _wrong_images(rng: random.Random) -> Iterator[tuple[str, bytes, Expected]]:
    grey = np.asarray(_picture_of(rng).convert("L")).astype(np.uint16) * 257
    yield "white is zero.tif", _tiff(65535 - grey, photometric="miniswhite"), _read()
    colour = np.moveaxis(np.asarray(_picture_of(rng)), 2, 0)
    yield "planar.tif", _tiff(colour, photometric="rgb", planarconfig="separate"), _read()
    turned = _tiff(grey, photometric="minisblack", extratags=[(274, 3, 1, 77, True)])
    unread = ("UnsupportedDocument", "CorruptDocument", "CorruptPage")
    yield "orientation 77.tif", turned, Expected(READ | {"failed"}, frozenset(unread))
    for end, kind in ((".png", "PNG"), (".jpg", "JPEG")):
        out = io.BytesIO()
        _picture_of(rng).save(out, kind)
        yield f"cut{end}", out.getvalue()[: out.tell() // 2], _damaged(*unread)
    yield "noise.webp", rng.randbytes(3000), _refused(*unread)


def wrong_files(rng: random.Random) -> list[tuple[str, bytes, Expected]]:
    """Return name, content and what is expected of every file with something wrong."""
    return [*_wrong_pdfs(rng), *_wrong_images(rng)]


def write_corpus(folder: Path, files: int, seed: int) -> tuple[dict[str, Expected], int]:
    """Write a folder of mixed files.

    Args:
        folder: Where; it must not exist.
        files: Number of files.
        seed: Seed of everything drawn.

    Returns:
        what is expected of each document by its name, and the number of files that are no documents.
    """
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    expected: dict[str, Expected] = {}
    wrong = wrong_files(rng)
    for name, data, what in wrong:
        path = folder / "wrong" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        expected[f"wrong/{name}"] = what
    expected |= {f"wrong/portfolio.pdf/{name}": _read() for name in ("offer.pdf", "terms.pdf")}
    links = {"itself.pdf": "itself.pdf", "nowhere.pdf": "no/such/file.pdf", "long.pdf": "x" * 300 + ".pdf"}
    for name, target in links.items():
        (folder / "wrong" / name).symlink_to(target)
        expected[f"wrong/{name}"] = _refused("DocumentUnreadable", "DocumentNotFound")
    (folder / "wrong" / "above").symlink_to("..")
    ignored = files // 10
    for number in range(ignored):
        (folder / f"note {number}{_IGNORED[number % len(_IGNORED)]}").write_text("no document")
    for number in range(files - ignored - len(wrong) - len(links)):
        name = f"{number % 40:02d}/sound {number}"
        (folder / name).parent.mkdir(exist_ok=True)
        if number % 6:
            name += ".pdf"
            text_pdf([invoice_lines(rng)]).save(folder / name)
        else:
            end = list(_IMAGE_KINDS)[number // 6 % len(_IMAGE_KINDS)]
            name += end
            _picture_of(rng).save(folder / name, _IMAGE_KINDS[end])
        expected[name] = _read()
    return expected, ignored
