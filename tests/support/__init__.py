"""Files, models and stand-ins of the tests."""

import sys

# PyMuPDF imports these if they are installed, and with them a neural network. Render children leave them out too, but
# tests draw PDFs in this process, and in processes that import this package.
for name in ("pymupdf.layout", "pymupdf4llm"):
    sys.modules[name] = None  # type: ignore[assignment]  # makes Python treat it as not installed
