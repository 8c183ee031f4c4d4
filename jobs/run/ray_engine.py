"""Runs Ray Data as the engine: each bundle is one row in a block of its own."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from jobs.ray_session import cluster, nodes_with, ray_session
from jobs.run.hub_files import fetch_on_nodes
from jobs.run.metrics import LEFT, Meter, Sample
from jobs.run.ray_workers import ActorConfig, AnswerActor, load_answerer, read_receipt, render
from jobs.run.resources import Resources, plan_resources
from jobs.settings import RunSettings
from pipeline.errors import EngineError, ModelError, OutputError
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.pages.limits import RenderLimits
from pipeline.records import Bundle, Receipt
from pipeline.units import CHUNK_PAGES, bundle_to_json

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

_WINDOW = 50_000  # rows at a time; each row costs the driver 2 ms before the first one runs
_WINDOW_UNITS = 4_000_000  # a compressed unit takes some 20 bytes; between windows, all actors are started anew
_LEAST_PATIENCE_S = 1800.0
_SLOW_PAGE_S = 600.0


class RayEngine:
    """Works through bundles on a local Ray, or on the cluster that this process runs in.

    Args:
        address: ``None`` for a local Ray, ``auto`` for the cluster.
    """

    name = "ray"

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._pages = 0  # of the bundles with a receipt
        self._markers: Markers | None = None

    def session(self) -> AbstractContextManager[None]:
        """Start Ray, or connect to it."""
        return ray_session(self.address)

    def resources(self, run: RunSettings) -> Resources:
        """Share the cluster between models and renderers.

        Args:
            run: settings of the run.
        """
        nodes = len(nodes_with("CPU"))
        return plan_resources(*cluster(), run.actors, run.gpus_per_actor, run.choice.device, nodes)

    def receipts(
        self,
        bundles: Iterable[Bundle],
        config: ActorConfig,
        resources: Resources,
        load: Callable[[ActorConfig], BundleAnswerer] = load_answerer,
    ) -> Iterator[Receipt]:
        """Work through bundles on the running Ray; see :class:`~jobs.run.engine.Engine`.

        Args:
            bundles: bundles to work through.
            config: configuration of the actors.
            resources: result of :meth:`resources`.
            load: function that makes the bundle answerer of an actor.

        Yields:
            One receipt per committed bundle.

        Raises:
            ModelError: an actor cannot load its model.
            OutputError: an actor cannot write to the output folder.
            EngineError: Ray gives up.
        """
        from ray.data.exceptions import ExecutionTimeoutError, SystemException
        from ray.exceptions import RayError

        self._pages, self._markers = 0, Markers(Folder(config.output))
        meter = Meter()
        for number, rows in enumerate(_windows(bundles)):
            left = len(rows)
            meter.record([Sample(LEFT, left)])
            try:
                if number == 0:
                    fetch_on_nodes(config.settings, bool(resources.actor_gpus))
                for row in _dataset(rows, config, resources, load).iter_rows():
                    receipt = read_receipt(row)
                    self._pages += receipt.pages
                    left -= 1
                    meter.record([Sample(LEFT, left)])
                    yield receipt
            except (RayError, SystemException, ExecutionTimeoutError) as error:
                for kind in (ModelError, OutputError):  # of what an actor raises, Ray may keep only the text
                    _, found, message = str(error).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")
                    if found:
                        raise kind(message.strip()) from error
                reason = str(error).strip().splitlines()[-1]  # the innermost of the tracebacks that Ray joins
                raise EngineError(f"Ray gave up: {reason}; run the same command again to resume") from error

    def pages_done(self) -> int:
        """Count the pages of finished bundles, and those that the markers of the others name as done.

        An actor writes its marker with each commit. While the folder cannot be read, only finished bundles count.
        """
        try:
            return self._pages + (0 if self._markers is None else self._markers.pages_done())
        except EngineError:
            return self._pages


def _windows(bundles: Iterable[Bundle]) -> Iterator[list[dict[str, bytes]]]:
    """Write bundles as rows, as many at a time as the driver can hold."""
    rows: list[dict[str, bytes]] = []
    units = 0
    for bundle in bundles:
        if rows and (len(rows) == _WINDOW or units + len(bundle.units) > _WINDOW_UNITS):
            yield rows
            rows, units = [], 0
        rows.append({"bundle": zlib.compress(bundle_to_json(bundle).encode(), 1)})
        units += len(bundle.units)
    if rows:
        yield rows


def _dataset(
    rows: list[dict[str, bytes]],
    config: ActorConfig,
    resources: Resources,
    load: Callable[[ActorConfig], BundleAnswerer],
) -> Any:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    context.execution_no_progress_timeout_s = _patience_s(config.deadline_s)
    context.max_consecutive_actor_init_deaths = 3
    context.actor_init_retry_on_errors = True
    context.actor_init_max_retries = 1
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset = dataset.map_batches(
        render,
        batch_size=1,
        batch_format="pyarrow",
        fn_kwargs={
            "settings": config.settings,
            "limits": RenderLimits(
                document_seconds=config.document_seconds, memory_bytes=resources.render_memory_bytes
            ),
            "passwords": config.passwords,
        },
        num_cpus=resources.render_cpus,
        memory=resources.render_memory_bytes,
        compute=ray.data.TaskPoolStrategy(size=resources.most_renders),
    )
    return dataset.map_batches(
        AnswerActor,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_kwargs={"config": config, "load": load},
        compute=_actor_pool(resources),
        num_cpus=resources.actor_cpus,
        num_gpus=resources.actor_gpus or None,
    )


def _actor_pool(resources: Resources) -> Any:
    """Return a pool of a fixed size, or one that grows where the cluster does; two bundles per actor keep it busy."""
    from ray.data import ActorPoolStrategy

    bounds = resources.actor_range
    if bounds is None:
        return ActorPoolStrategy(size=resources.actors, max_tasks_in_flight_per_actor=2)
    return ActorPoolStrategy(
        min_size=bounds.least, max_size=bounds.most, initial_size=resources.actors, max_tasks_in_flight_per_actor=2
    )


def _patience_s(deadline_s: float | None) -> float:
    """Return the seconds without a finished bundle after which Ray gives up, enough for a bundle of slow pages."""
    return max(_LEAST_PATIENCE_S, CHUNK_PAGES * (deadline_s or _SLOW_PAGE_S))
