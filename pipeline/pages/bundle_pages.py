"""Renders the pages that a bundle needs."""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import PageError
from pipeline.pages.ocr import ocr_reader
from pipeline.pages.renderer import RenderChild
from pipeline.records import AnswerSettings, Bundle, PageFailure, PageImage, RenderedBundle


def render_bundle(bundle: Bundle, child: RenderChild, settings: AnswerSettings) -> RenderedBundle:
    """Render every page a bundle needs, and hash the documents it opens.

    Args:
        bundle: bundle to render.
        child: render child that does it.
        settings: settings of the run, of which resolution, page sizes and OCR are used.

    Raises:
        EngineError: the child cannot be started, or a remote document cannot be copied.
        ModelError: the model family cannot be imported in the child.
        UsageError: pages without a text layer are to be read by OCR, which is not installed here.
    """
    reader = None if settings.ocr is None else ocr_reader()
    images: list[PageImage] = []
    failures: list[PageFailure] = []
    sha256: dict[str, str] = {}
    for document in bundle.documents:
        pages = bundle.pages_of(document.document_id)
        if not pages:
            continue
        for rendered in child.render(document, pages, settings.dpi, settings.budget):
            if isinstance(rendered, PageImage):
                if reader is not None and rendered.words is None and not rendered.blank:
                    rendered = replace(rendered, words=reader.words(rendered))
                images.append(rendered)
            else:
                failures.append(rendered)
        try:
            sha256[document.document_id] = child.sha256(document)
        except PageError:
            continue  # the pages of a document that vanished have already failed
    return RenderedBundle(bundle, tuple(images), tuple(failures), sha256)
