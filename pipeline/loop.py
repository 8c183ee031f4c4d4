"""The whole job in a plain loop: what the engine does, one bundle after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.pages.renderer import RenderChild, render_bundle
from pipeline.records import AnswerSettings, Bundle, Receipt


def run_loop(
    bundles: Iterable[Bundle], child: RenderChild, answerer: BundleAnswerer, settings: AnswerSettings
) -> Iterator[Receipt]:
    """Render, answer and commit every bundle."""
    for bundle in bundles:
        yield answerer.run(render_bundle(bundle, child, settings))
