"""Runs Ray Data as the engine: each bundle is one row in a block of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from jobs.ray_session import cluster, ray_session
from jobs.run.ray_workers import ActorConfig, AnswerActor, load_answerer, receipt_of, render
from jobs.run.resources import Resources, plan_resources
from jobs.settings import RunSettings
from pipeline.errors import EngineError, ModelError
from pipeline.pages.renderer import RenderLimits
from pipeline.records import Bundle, Receipt
from pipeline.units import CHUNK_PAGES, bundle_to_json

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

_WINDOW = 50_000  # rows at a time; each row costs the driver 2 ms before the first one runs
_LEAST_PATIENCE_S = 1800.0
_SLOW_PAGE_S = 600.0
_MODEL_ERROR = f"{ModelError.__module__}.{ModelError.__qualname__}: "


class RayEngine:
    """Works through bundles on a local Ray, or on the cluster that this process runs in.

    Args:
        address: ``None`` for a local Ray, ``auto`` for the cluster.
    """

    name = "ray"

    def __init__(self, address: str | None) -> None:
        self.address = address

    def session(self) -> AbstractContextManager[None]:
        """Start Ray, or connect to it."""
        return ray_session(self.address)

    def resources(self, run: RunSettings) -> Resources:
        """Share the cluster between models and renderers.

        Args:
            run: settings of the run.
        """
        return plan_resources(*cluster(), run.actors, run.gpus_per_actor, run.choice.device)

    def receipts(
        self,
        bundles: Sequence[Bundle],
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
            EngineError: Ray gives up.
        """
        from ray.data.exceptions import ExecutionTimeoutError, SystemException
        from ray.exceptions import RayError

        for start in range(0, len(bundles), _WINDOW):
            try:
                for row in _dataset(bundles[start : start + _WINDOW], config, resources, load).iter_rows():
                    yield receipt_of(row)
            except (RayError, SystemException, ExecutionTimeoutError) as error:
                # If an actor's __init__ raises, Ray keeps only the text of the exception.
                _, is_model_error, message = str(error).rpartition(_MODEL_ERROR)
                if is_model_error:
                    raise ModelError(message.strip()) from error
                reason = str(error).strip().splitlines()[-1]  # the innermost of the tracebacks that Ray joins
                raise EngineError(f"Ray gave up: {reason}; run the same command again to resume") from error


def _dataset(
    bundles: Sequence[Bundle],
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
    rows = [{"bundle": bundle_to_json(bundle)} for bundle in bundles]
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
        compute=ray.data.TaskPoolStrategy(size=resources.renders),
    )
    return dataset.map_batches(
        AnswerActor,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_kwargs={"config": config, "load": load},
        compute=ray.data.ActorPoolStrategy(size=resources.actors, max_tasks_in_flight_per_actor=2),
        num_cpus=resources.actor_cpus,
        num_gpus=resources.actor_gpus or None,
    )


def _patience_s(deadline_s: float | None) -> float:
    """Return the seconds without a finished bundle after which Ray gives up, enough for a bundle of slow pages."""
    return max(_LEAST_PATIENCE_S, CHUNK_PAGES * (deadline_s or _SLOW_PAGE_S))
