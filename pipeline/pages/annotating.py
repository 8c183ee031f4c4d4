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


def annotate(source: PdfSource, passwords: Sequence[str], marks: str) -> bytes:
    """Copy a PDF and put marks into the copy, behind its last byte where that is possible, so that signatures hold.

    The copy lies in memory, under a name, since a renderer may not write to a disk.

    Args:
        source: the PDF.
        passwords: user passwords to try.
        marks: path of a JSON file with a list of :class:`pipeline.pages.marks.Mark`.

    Raises:
        PageError: MuPDF cannot open the PDF as it is, or cannot write to it.
    """
    descriptor = os.memfd_create("copy")
    target = f"/proc/self/fd/{descriptor}"
    try:
        if source.data is None:
            shutil.copyfile(source.path, target)
        else:
            Path(target).write_bytes(source.data)
        opened = open_pdf(PdfSource(target), passwords)
        if opened.mupdf is None or opened.source.data is not None:
            raise PageError(
                "open", "CorruptDocument", "it can be read only after mending, so nothing can be added to it"
            )
        with pymupdf.open(target, filetype="pdf") as document:
            if opened.source.password is not None:
                document.authenticate(opened.source.password)
            put_marks(document, json.loads(Path(marks).read_text(encoding="utf-8")))
            if not document.can_save_incrementally():
                whole: bytes = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_KEEP)
                return whole
            document.saveIncr()
        return Path(target).read_bytes()
    except MUPDF_FAILURES as error:
        raise failure("open", "CorruptDocument", error, complaints()) from error
    finally:
        os.close(descriptor)
