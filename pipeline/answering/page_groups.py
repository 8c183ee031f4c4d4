"""Sorts a rendered bundle into what the model reads at once: pages by themselves, and pages together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.records import Bundle, Failure, PageImage, RenderedBundle, Unit


@dataclass(frozen=True, slots=True)
class PageGroup:
    """What the model reads at once.

    Attributes:
        images: one page, or those of questions about several pages together, in order.
        counted: those of them that no earlier group has; their cost is reported with this one.
    """

    images: tuple[PageImage, ...]
    counted: tuple[PageImage, ...]

    @property
    def document_id(self) -> str:
        """Return the id of the document that all pages are of."""
        return self.images[0].document_id

    @property
    def pages(self) -> tuple[int, ...]:
        """Return the numbers of the pages."""
        return tuple(image.page for image in self.images)


@dataclass(frozen=True, slots=True)
class NotRead:
    """Pages of which the model reads nothing: they could not be rendered, or are blank.

    Attributes:
        document_id: id of the document.
        pages: numbers of the pages, of which questions about these pages only are meant.
        failure: reason why they cannot be read; ``None`` for blank ones.
    """

    document_id: str
    pages: tuple[int, ...]
    failure: Failure | None


def page_groups(rendered: RenderedBundle) -> list[PageGroup]:
    """List what the model reads: first every page that is asked about by itself, then pages together.

    A blank page is read only beside one that is not.

    Args:
        rendered: the bundle with its pages.
    """
    bundle = rendered.bundle
    by_page = {(image.document_id, image.page): image for image in rendered.images}
    groups = [PageGroup((i,), (i,)) for i in rendered.images if not i.blank and bundle.asks_of(i.document_id, i.page)]
    seen = {(group.document_id, page) for group in groups for page in group.pages}
    for document_id, pages in _together(bundle):
        images = [by_page[document_id, page] for page in pages if (document_id, page) in by_page]
        if len(images) < len(pages) or all(image.blank for image in images):
            continue
        counted = [image for image in images if not image.blank and (document_id, image.page) not in seen]
        seen |= {(document_id, page) for page in pages}
        groups.append(PageGroup(tuple(images), tuple(counted)))
    return groups


def not_read(rendered: RenderedBundle) -> Iterator[NotRead]:
    """Yield the pages, by themselves and together, about which the model cannot or need not be asked.

    Args:
        rendered: the bundle with its pages.
    """
    failures = {(failed.document_id, failed.page): failed.failure for failed in rendered.failures}
    blank = [(image.document_id, image.page) for image in rendered.images if image.blank]
    for (document_id, page), failure in failures.items():
        yield NotRead(document_id, (page,), failure)
    for document_id, page in blank:
        yield NotRead(document_id, (page,), None)
    for document_id, pages in _together(rendered.bundle):
        broken = next((page for page in pages if (document_id, page) in failures), None)
        if broken is not None:
            failure = failures[document_id, broken]
            told = replace(failure, error_message=f"page {broken}: {failure.error_message}")
            yield NotRead(document_id, pages, told)
        elif all((document_id, page) in blank for page in pages):
            yield NotRead(document_id, pages, None)


def units_about(bundle: Bundle, document_id: str, *pages: int) -> dict[str, Unit]:
    """Return the units that ask about one page by itself, or about several together, by question id.

    Args:
        bundle: the bundle.
        document_id: id of the document.
        *pages: numbers of the pages.
    """
    mine = (unit for unit in bundle.units if unit.document_id == document_id)
    return {unit.question_id: unit for unit in mine if unit.asks_about(*pages)}


def _together(bundle: Bundle) -> list[tuple[str, tuple[int, ...]]]:
    """List the pages that are read together, with the id of their document, each group once."""
    return list(dict.fromkeys((unit.document_id, unit.read_pages) for unit in bundle.units if unit.further))
