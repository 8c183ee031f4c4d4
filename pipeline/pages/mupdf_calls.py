"""What all callers of MuPDF share: its errors and its complaints; only the render child imports this."""

from __future__ import annotations

import pymupdf

# The errors that PyMuPDF raises for a damaged file; any other error ends the process, and the page fails with it.
MUPDF_FAILURES = (pymupdf.FileDataError, pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError, LookupError)


def complaints() -> list[str]:
    """Return what MuPDF has complained of since its warnings were last reset, one line each.

    It quotes what it does not understand; bytes in that which are not UTF-8, and no table holds, are escaped.
    """
    told = pymupdf.TOOLS.mupdf_warnings().encode(errors="backslashreplace").decode()
    return [line for line in told.splitlines() if line.strip()]
