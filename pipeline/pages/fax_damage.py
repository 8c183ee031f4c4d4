"""Finds damage in a fax-compressed TIFF, which libtiff decodes without a word; only the render child imports this."""

from __future__ import annotations

import pymupdf

from pipeline.pages.mupdf_calls import MUPDF_FAILURES, complaints, forget_complaints

_DAMAGE = "faxd"  # in what MuPDF says of codes that no fax has


def fax_damage(path: str, number: int) -> tuple[str, ...]:
    """Say what MuPDF finds wrong with the codes of a frame; nothing where they are right.

    A fax has no checksum. Damage shows in codes that do not exist, or that lead beyond the end of a line.

    Args:
        path: path of a local TIFF.
        number: number of the frame, counted from 0.
    """
    forget_complaints()
    try:
        with pymupdf.open(path, filetype="tiff") as document:
            document[number].get_pixmap()
    except MUPDF_FAILURES:
        pass  # MuPDF reads fewer kinds of TIFF; what it cannot open, it cannot judge
    return tuple(f"MuPDF: {line}" for line in dict.fromkeys(complaints()) if _DAMAGE in line)
