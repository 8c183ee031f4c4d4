"""Names the bytes that both PDF renderers read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PdfSource:
    """Holds a PDF as a file, or in memory if it was mended or lies inside another PDF.

    Attributes:
        path: path of a local file.
        data: bytes to read in its place; ``None`` for the file itself.
        password: user password; ``None`` without one.
    """

    path: str
    data: bytes | None = None
    password: str | None = None

    def read(self) -> bytes:
        """Return all bytes."""
        if self.data is not None:
            return self.data
        with open(self.path, "rb") as file:
            return file.read()
