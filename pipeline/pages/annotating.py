"""Writes copies of PDFs with highlights and notes; only the render child imports this."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pymupdf

from pipeline.errors import PageError
from pipeline.pages.marks import put_marks
from pipeline.pages.mupdf_calls import MUPDF_FAILURES, complaints
from pipeline.pages.mupdf_reader import failure
from pipeline.pages.pdf_opening import open_pdf
from pipeline.pages.pdf_source import PdfSource


def annotate(source: PdfSource, passwords: Sequence[str], marks: str, target: str) -> None:
    """Copy a PDF and put marks into the copy, behind its last byte where that is possible, so that signatures hold.

    Args:
        source: the PDF.
        passwords: user passwords to try.
        marks: path of a JSON file with a list of :class:`pipeline.pages.marks.Mark`.
        target: path of the file to write.

    Raises:
        PageError: MuPDF cannot open the PDF as it is, or cannot write to it.
    """
    if source.data is None:
        shutil.copyfile(source.path, target)
    else:
        Path(target).write_bytes(source.data)
    opened = open_pdf(PdfSource(target), passwords)
    if opened.mupdf is None or opened.source.data is not None:
        raise PageError("open", "CorruptDocument", "it can be read only after mending, so nothing can be added to it")
    try:
        with pymupdf.open(target, filetype="pdf") as document:
            if opened.source.password is not None:
                document.authenticate(opened.source.password)
            put_marks(document, json.loads(Path(marks).read_text(encoding="utf-8")))
            if document.can_save_incrementally():
                document.saveIncr()
                return
            document.save(f"{target}.new", encryption=pymupdf.PDF_ENCRYPT_KEEP)
        os.replace(f"{target}.new", target)
    except MUPDF_FAILURES as error:
        raise failure("open", "CorruptDocument", error, complaints()) from error
