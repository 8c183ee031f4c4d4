"""Renders the pages of examples at the size that the model takes."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets.example import Example
from pipeline.errors import UsageError
from pipeline.file_names import local_uri
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Document, Image, PageFailure, PageImage, PixelBudget


class PageImages:
    """Renders the pages of examples through a render child.

    Args:
        child: render child.
        dpi: resolution of PDF pages, in dots per inch.
        budget: pixel budget of the model.
    """

    def __init__(self, child: RenderChild, dpi: int, budget: PixelBudget) -> None:
        self.child, self.dpi, self.budget = child, dpi, budget

    def of(self, example: Example) -> Image:
        """Render an example's page, ``[height, width, 3]`` uint8.

        Args:
            example: example whose page is wanted.

        Raises:
            UsageError: the page cannot be rendered.
        """
        return decode_image(self.rendered(example))

    def rendered(self, example: Example) -> PageImage:
        """Render an example's page, with all that is known of it.

        Args:
            example: example whose page is wanted.

        Raises:
            UsageError: the page cannot be rendered.
        """
        rendered = next(iter(self.child.render(document_at(example.document), [example.page], self.dpi, self.budget)))
        if isinstance(rendered, PageFailure):
            failure = rendered.failure
            raise UsageError(f"{example.document}, page {example.page}: {failure.error_type}: {failure.error_message}")
        return rendered


def document_at(path: Path) -> Document:
    """Describe a file as a document.

    Args:
        path: the file.
    """
    return Document(document_id=str(path), path=path.name, uri=local_uri(str(path.resolve())), size_bytes=0, version="")
