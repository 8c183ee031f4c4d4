"""Runs bundles and tells metrics, traces and the log what became of them, under either engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobs.run.metrics import ACTORS, BUNDLE_SECONDS, BUNDLES, IDLE, Meter, Sample, samples_of
from jobs.run.page_lines import page_lines
from jobs.run.tracing import Tracing
from pipeline.records import Receipt, RenderedBundle
from pipeline.results import BundleResult

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer


class Observed:
    """Runs bundles with a bundle answerer, and tells what became of them.

    Args:
        answerer: the bundle answerer.
        run_id: id of the run.
        tracing: what makes the spans of this process.
        trace: what makes them children of the run's.
        page_lines: whether receipts describe each page.
        meter: what counts with Ray; ``None`` without Ray.
        clock: function that returns a time in seconds.
    """

    def __init__(
        self,
        answerer: BundleAnswerer,
        run_id: str,
        tracing: Tracing,
        trace: Mapping[str, str],
        page_lines: bool,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answerer = answerer
        self._run_id = run_id
        self._tracing = tracing
        self._trace = trace
        self._page_lines = page_lines
        self._meter = meter
        self._clock = clock
        self._ready_at = clock()
        self._lines: list[dict[str, Any]] = []
        answerer.committed = self._committed
        self._record(Sample(ACTORS, 1))

    def run(self, rendered: RenderedBundle, here: bool = True) -> Receipt:
        """Answer and commit one bundle.

        Args:
            rendered: the bundle with its rendered pages.
            here: whether it was rendered on this node.

        Raises:
            EngineError: as in :meth:`pipeline.answering.bundle_answerer.BundleAnswerer.run`.
        """
        self._record(Sample(IDLE, self._clock() - self._ready_at))
        self._lines = []
        bundle_id = rendered.bundle.bundle_id
        try:
            with self._tracing.span("bundle", self._trace, run=self._run_id, bundle=bundle_id) as span:
                receipt = self._answerer.run(rendered)
                span.note(pages=receipt.pages, attempt=receipt.attempt, model_ms=receipt.model_ms, here=here)
        finally:
            self._ready_at = self._clock()
        self._record(Sample(BUNDLE_SECONDS, receipt.busy_ms / 1e3), Sample(BUNDLES, 1, "here" if here else "elsewhere"))
        return replace(receipt, moved=not here, lines=tuple(self._lines))

    def _committed(self, result: BundleResult) -> None:
        self._record(*samples_of(result))
        if self._page_lines:
            self._lines += page_lines(result)

    def _record(self, *samples: Sample) -> None:
        if self._meter is not None:
            self._meter.record(samples)
