"""Runs a plain loop as the engine: no Ray, one model in this process, one bundle after the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from jobs.exit_codes import ENGINE
from jobs.run.observed import Observed
from jobs.run.ray_workers import ActorConfig
from jobs.run.resources import Resources
from jobs.run.start import leave_out_pandas
from jobs.run.tracing import tracing_from_environment
from jobs.run.watchdog import Watchdog
from jobs.settings import RunSettings
from pipeline.answering.look_ahead import look_ahead
from pipeline.errors import EngineError
from pipeline.pages.bundle_pages import render_bundle
from pipeline.pages.limits import RenderLimits
from pipeline.pages.renderer import RenderChild
from pipeline.records import Bundle, Receipt

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

_GIB = 1 << 30


class LoopEngine:
    """Renders the next bundle in a child process while the model works on the current one."""

    name = "local"

    def __init__(self) -> None:
        self._answerer: BundleAnswerer | None = None

    def session(self) -> AbstractContextManager[None]:
        """Return an empty context, since the loop runs in this process, which does without pandas."""
        leave_out_pandas()
        return nullcontext()

    def resources(self, run: RunSettings) -> Resources:
        """Give the whole machine to one model and one renderer.

        Args:
            run: settings of the run.

        Raises:
            UsageError: the settings ask for a GPU, and there is none.
        """
        import psutil
        import torch

        from pipeline.answering.devices import check_device

        check_device(run.choice.device)
        on_gpu = torch.cuda.device_count() > 0 and run.choice.device != "cpu"
        memory = psutil.virtual_memory().available
        return Resources(
            actors=1,
            actor_cpus=0.0,
            actor_gpus=1.0 if on_gpu else 0.0,
            actor_threads=len(os.sched_getaffinity(0)),
            renders=1,
            render_cpus=0.0,
            render_memory_bytes=min(4 * _GIB, max(_GIB, memory // 4)),
        )

    def receipts(
        self,
        bundles: Iterable[Bundle],
        config: ActorConfig,
        resources: Resources,
        load: Callable[[ActorConfig], BundleAnswerer],
    ) -> Iterator[Receipt]:
        """Work through bundles; see :class:`~jobs.run.engine.Engine`.

        Args:
            bundles: bundles to work through.
            config: configuration of the model.
            resources: result of :meth:`resources`.
            load: function that makes the bundle answerer.

        Yields:
            One receipt per bundle.

        Raises:
            EngineError: the device failed.
        """
        import torch

        self._answerer = None  # the pages of an earlier pass do not count
        tracing = tracing_from_environment()
        observed: Observed | None = None
        limits = RenderLimits(document_seconds=config.document_seconds, memory_bytes=resources.render_memory_bytes)
        with RenderChild(limits, config.passwords) as child, ExitStack() as leaving:
            render = partial(render_bundle, child=child, settings=config.settings)
            rendered = leaving.enter_context(closing(look_ahead(bundles, render)))
            leaving.callback(tracing.close)
            leaving.callback(child.cancel)  # before the thread is waited for, whose page may take a minute
            for one in rendered:
                if observed is None:  # by now, the first bundle is being rendered
                    self._answerer = load(config)
                    observed = Observed(self._answerer, config.run_id, tracing, config.trace, config.page_lines)
                    Watchdog(self._answerer, config.deadline_s, hung=_hung)
                try:
                    yield observed.run(one.result())
                except torch.AcceleratorError as error:
                    raise EngineError(f"the device failed: {error}; run the same command again to resume") from error

    def pages_done(self) -> int:
        """Count the pages that the model has done."""
        return 0 if self._answerer is None else self._answerer.pages_done


def _hung() -> None:
    """End this process, since a hung model cannot be interrupted; the marker warns the next run."""
    sys.stderr.write("docpipe: a page took too long, and the model cannot be stopped; run the same command again\n")
    sys.stderr.flush()
    os._exit(ENGINE)
