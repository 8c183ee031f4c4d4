"""Files that nobody should have to open, written out byte by byte."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pymupdf

from pipeline.records import Document

Put = Callable[[str, bytes], Document]  # name and content of a file that is written


def as_document(path: Path) -> Document:
    """What a listing would say of a file."""
    status = path.stat()
    return Document(f"id-{path.name}", path.name, str(path), status.st_size, str(status.st_mtime_ns))


def raw_pdf(
    page: bytes = b"/MediaBox[0 0 100 100]", content: bytes = b"", filters: bytes = b"", count: int = 1
) -> bytes:
    """One page in a PDF without a cross-reference table, which a reader has to repair."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count %d>>" % count,
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R%s>>" % page,
        b"<</Length %d%s>>stream\n%s\nendstream" % (len(content), filters, content),
    )
    body = b"".join(b"%d 0 obj%sendobj\n" % (number, text) for number, text in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R/Size 5>>\n%%EOF\n"


def text_pdf(pages: int = 3) -> bytes:
    """A sound PDF of A4 pages."""
    with pymupdf.open() as document:
        for number in range(1, pages + 1):
            document.new_page(width=595, height=842).insert_text((72, 72), f"page {number}", fontsize=40)
        data: bytes = document.tobytes()
    return data


def encrypted_pdf(user_password: str) -> bytes:
    """A PDF under AES-256; an empty user password lets everybody read."""
    with pymupdf.open("pdf", text_pdf(1)) as document:
        data: bytes = document.tobytes(
            encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw=user_password, owner_pw="owner", permissions=0
        )
    return data


def content_bomb() -> bytes:
    """A page of a few hundred KB whose content takes some 200 MB."""
    packer = zlib.compressobj(9)
    line = b"0 0 1 1 re f\n" * 100_000
    content = b"".join(packer.compress(line) for _ in range(160)) + packer.flush()
    return raw_pdf(content=content, filters=b"/Filter/FlateDecode")


def png_of_size(width: int, height: int) -> bytes:
    """The head of a PNG that claims a size; its pixels never come."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    out.write(chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return out.getvalue()
