"""Finds the PDFs inside portfolios, which are read as documents of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.errors import PageError
from pipeline.pages.passwords import Passwords
from pipeline.pages.portfolio import members_of
from pipeline.pages.renderer import RenderChild
from pipeline.records import Document, PageCount


def embedded_documents(
    documents: Sequence[Document], counts: Mapping[str, PageCount], passwords: Passwords
) -> list[Document]:
    """List the PDFs inside those documents that turned out to be portfolios.

    Args:
        documents: documents whose pages were counted.
        counts: the page count of every document, or why there is none, by id.
        passwords: passwords of encrypted documents.

    Raises:
        EngineError: the render child cannot be started.
    """
    refused = [d for d in documents if _is_unsupported(counts[d.document_id])]
    found: list[Document] = []
    if not refused:
        return found
    with RenderChild(passwords=passwords) as child:
        for document in refused:
            try:
                found += members_of(document, child)
            except PageError:
                continue  # it fails as a whole, for a reason that its row gives
    return found


def _is_unsupported(count: PageCount) -> bool:
    return count.failure is not None and count.failure.error_type == "UnsupportedDocument"
