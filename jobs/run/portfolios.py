"""Finds the PDFs inside portfolios, which are read as documents of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.errors import PageError
from pipeline.pages.passwords import Passwords
from pipeline.pages.portfolio import members_of
from pipeline.pages.renderer import RenderChild
from pipeline.records import Document, Failure, PageCount

MOST_LEVELS = 3
MOST_MEMBERS = 10_000
"""Most PDFs per file and level: one embedded file can stand for many, so a few KB could hold millions."""


def embedded_documents(
    documents: Sequence[Document], counts: Mapping[str, PageCount], passwords: Passwords
) -> tuple[list[Document], dict[str, PageCount]]:
    """List the PDFs inside those documents that turned out to be portfolios.

    Args:
        documents: documents whose pages were counted.
        counts: the page count of every document, or why there is none, by id.
        passwords: passwords of encrypted documents.

    Returns:
        The documents, and the reason of portfolios that hold too much to be read, by id.

    Raises:
        EngineError: the render child cannot be started.
    """
    portfolios = [d for d in documents if _is_unsupported(counts[d.document_id])]
    found: list[Document] = []
    refused: dict[str, PageCount] = {}
    held = Counter[str]()
    if not portfolios:
        return found, refused
    with RenderChild(passwords=passwords) as child:
        for document in portfolios:
            try:
                members = members_of(document, child)
            except PageError:
                continue  # it fails as a whole, for a reason that its row gives
            if members and len(document.members) == MOST_LEVELS:
                refused[document.document_id] = _too_large(document, f"it lies inside of {MOST_LEVELS} other")
            elif held[document.uri] + len(members) > MOST_MEMBERS:
                refused[document.document_id] = _too_large(
                    document, f"with it, the file holds more than {MOST_MEMBERS:,}"
                )
            else:
                held[document.uri] += len(members)
                found += members
    return found, refused


def _is_unsupported(count: PageCount) -> bool:
    return count.failure is not None and count.failure.error_type == "UnsupportedDocument"


def _too_large(document: Document, what: str) -> PageCount:
    message = f"it is a portfolio whose PDFs are not read: {what} PDFs; take out what should be read"
    return PageCount(document.document_id, None, Failure("open", "PortfolioTooLarge", message))
