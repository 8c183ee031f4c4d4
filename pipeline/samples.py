"""Small business documents to try docpipe on: real PDFs with text, and a questions file for them, from a seed."""

from __future__ import annotations

import random
from pathlib import Path

import pymupdf

QUESTIONS = """\
version: 1
defaults: {pages: all, max_new_tokens: 24}
questions:
  - id: total
    text: What is the total?
    type: money
    pages: "1"
  - id: invoice_number
    text: What is the invoice number?
    documents: "invoice*.pdf"
  - id: customer
    text: Who is the customer?
    aggregate: first
  - id: due_date
    text: When is the payment due?
    type: date
    pages: "1,-1"
    keep: {max_ratio: 0.2, min_tokens: 4}
"""

_PEOPLE = ("Ada Berg", "Jonas Klein", "Mira Olsen", "Tom Weber", "Lena Fox", "Omar Haddad", "Eva Novak", "Ravi Menon")
_COMPANIES = ("Northwind Tools", "Baker & Lowe", "Solara Energy", "Kestrel Freight", "Juniper Labs", "Atlas Paper")
_ITEMS = (
    "Bearing 6204",
    "Copper wire",
    "Desk lamp",
    "Filter set",
    "Hex bolt M8",
    "Label roll",
    "Power supply",
    "Valve",
)
_A4 = pymupdf.paper_rect("a4")


def write_samples(folder: Path, documents: int, seed: int) -> tuple[Path, Path]:
    """Draw documents of one to three pages and the questions file; the same seed gives the same text on every page.

    Args:
        folder: gets ``pdfs/`` and ``questions.yaml``; it is made where it is missing.
        documents: how many PDFs to draw.
        seed: of all values.

    Returns:
        The folder of PDFs and the questions file.
    """
    pdfs = folder / "pdfs"
    pdfs.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    for number in range(documents):
        kind = ("invoice", "order", "receipt")[number % 3]
        _draw(pdfs / f"{kind}_{number + 1:03d}.pdf", kind, 1 + number % 3, rng)
    questions = folder / "questions.yaml"
    questions.write_text(QUESTIONS, encoding="utf-8")
    return pdfs, questions


def _draw(path: Path, kind: str, pages: int, rng: random.Random) -> None:
    with pymupdf.open() as document:
        fields = _fields(kind, rng)
        for page_number in range(1, pages + 1):
            page = document.new_page(width=_A4.width, height=_A4.height)
            page.insert_text((56, 72), f"{rng.choice(_COMPANIES)}   {kind.title()}", fontname="hebo", fontsize=16)
            page.insert_text((480, 72), f"page {page_number} of {pages}", fontname="helv", fontsize=9)
            for row, (label, value) in enumerate(fields):
                page.insert_text((56, 116 + 20 * row), f"{label}:", fontname="hebo", fontsize=11)
                page.insert_text((180, 116 + 20 * row), value, fontname="helv", fontsize=11)
            top = 150 + 20 * len(fields)
            for row in range(rng.randint(4, 12)):
                price = f"{rng.randint(1, 900)}.{rng.randint(0, 99):02d}"
                cells = (rng.choice(_ITEMS), str(rng.randint(1, 40)), price)
                for x, cell in zip((56, 300, 400), cells, strict=True):
                    page.insert_text((x, top + 18 * row), cell, fontname="helv", fontsize=10)
        document.save(path, no_new_id=True)


def _fields(kind: str, rng: random.Random) -> list[tuple[str, str]]:
    day = f"20{rng.randint(24, 29)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    due = f"20{rng.randint(30, 34)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return [
        (f"{kind.title()} No", f"{kind[:3].upper()}-{rng.randint(10000, 99999)}"),
        ("Date", day),
        ("Due Date", due),
        ("Customer", rng.choice(_PEOPLE)),
        ("Total", f"{rng.randint(10, 99999)}.{rng.randint(0, 99):02d}"),
    ]
