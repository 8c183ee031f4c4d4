"""What all callers of MuPDF share: its errors and its complaints; only the render child and the samples import this."""

from __future__ import annotations

import pymupdf

from pipeline.errors import storable

# The errors that PyMuPDF raises for a damaged file; any other error ends the process, and the page fails with it.
MUPDF_FAILURES = (pymupdf.FileDataError, pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError, LookupError)


def forget_complaints() -> None:
    """Drop what MuPDF has complained of so far, also what it holds back to count how often it is repeated.

    Otherwise the next document would get that count, and lose a complaint of its own in the same words.
    """
    pymupdf.TOOLS.mupdf_warnings(reset=1)  # resetting alone leaves what is held back


def complaints() -> list[str]:
    """Return what MuPDF has complained of since that was last forgotten, one line each."""
    return [line for line in storable(pymupdf.TOOLS.mupdf_warnings()).splitlines() if line.strip()]
