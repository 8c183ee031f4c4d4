"""Limits how long and how large rendering may become."""

from __future__ import annotations

from dataclasses import dataclass

DOCUMENT_SECONDS = 3600.0
"""Time for all pages of a document where nothing else is asked for, in seconds."""


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """Limits of the render child.

    Attributes:
        open_seconds: time to open, hash or measure a document.
        page_seconds: time to render a page.
        document_seconds: time to render all pages of a document that one process renders.
        memory_bytes: address space, of which the libraries take about 150 MiB.
    """

    open_seconds: float = 60.0
    page_seconds: float = 60.0
    document_seconds: float = DOCUMENT_SECONDS
    memory_bytes: int = 4 << 30
