"""Names the PDFs inside a portfolio, which are documents of their own."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from pipeline.file_names import readable
from pipeline.pages.renderer import RenderChild
from pipeline.records import Document


def members_of(portfolio: Document, child: RenderChild) -> list[Document]:
    """List the PDFs inside a document; one that is no portfolio has none.

    Args:
        portfolio: document to open.
        child: render child that opens it.

    Raises:
        PageError: the document cannot be opened.
        EngineError: the child cannot be started.
    """
    return [_member(portfolio, number, name) for number, name in child.embedded_pdfs(portfolio)]


def _member(portfolio: Document, number: int, name: str) -> Document:
    """Make the document of a file inside a portfolio, below the portfolio's own path."""
    digest = hashlib.sha256(f"{portfolio.document_id}\0{number}".encode()).hexdigest()[:16]
    path = f"{portfolio.path}/{readable(name).lstrip('/')}"
    return replace(portfolio, document_id=digest, path=path, members=(*portfolio.members, number))
