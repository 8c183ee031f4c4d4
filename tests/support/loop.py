"""The whole pipeline in a plain loop, without the engines of ``jobs``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.pages.bundle_pages import render_bundle
from pipeline.pages.renderer import RenderChild
from pipeline.records import AnswerSettings, Bundle, Receipt


def run_loop(
    bundles: Iterable[Bundle], child: RenderChild, answerer: BundleAnswerer, settings: AnswerSettings
) -> Iterator[Receipt]:
    """Render, answer and commit every bundle."""
    for bundle in bundles:
        yield answerer.run(render_bundle(bundle, child, settings))
