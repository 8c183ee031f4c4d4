"""What all callers of MuPDF share: its errors and its complaints; only the render child and the samples import this."""

from __future__ import annotations

import pymupdf

from pipeline.errors import storable

# The errors that PyMuPDF raises for a damaged file; any other error ends the process, and the page fails with it.
MUPDF_FAILURES = (pymupdf.FileDataError, pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError, LookupError)


def complaints() -> list[str]:
    """Return what MuPDF has complained of since its warnings were last reset, one line each."""
    return [line for line in storable(pymupdf.TOOLS.mupdf_warnings()).splitlines() if line.strip()]
