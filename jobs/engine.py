"""Ray Data as the engine: one row = one block = one bundle; render tasks, then actors that commit, then receipts."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from jobs.resources import Resources
from jobs.stages import ActorConfig, AnswerActor, render
from pipeline.errors import EngineError, ModelError
from pipeline.plan import bundle_to_json
from pipeline.records import Bundle, Receipt
from pipeline.render import RenderLimits

_WINDOW = 50_000  # rows at a time; each costs the driver 2 ms before the first one runs
_NO_PROGRESS_SECONDS = 1800.0
_MODEL_ERROR = f"{ModelError.__module__}.{ModelError.__name__}: "  # how a traceback ends when an actor cannot load


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """A local Ray of this process's own, or the cluster this process runs in (``auto``).

    A Ray that is running in this process already is used and left as it is.

    Raises:
        EngineError: Ray does not start.
    """
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # under `uv run`, every worker would run uv
    # What Ray says goes to its session's log folder; on the terminal it would drown the progress.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)

    if ray.is_initialized():
        yield
        return
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else {"include_dashboard": False}),
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"Ray does not start: {error}") from error
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        ray.shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def cluster() -> tuple[float, float, int]:
    """CPUs, GPUs and task memory in bytes of the running Ray."""
    import ray

    total: dict[str, Any] = ray.cluster_resources()
    return float(total.get("CPU", 0)), float(total.get("GPU", 0)), int(total.get("memory", 0))


def run_bundles(bundles: Sequence[Bundle], config: ActorConfig, resources: Resources) -> Iterator[Receipt]:
    """Work through bundles on the running Ray; a receipt for each that was committed.

    A bundle that is lost yields no receipt and no exception: the caller compares planned with completed.

    Raises:
        ModelError: an actor cannot load its model.
        EngineError: Ray gives up.
    """
    import ray
    from ray.exceptions import RayError

    for start in range(0, len(bundles), _WINDOW):
        try:
            for row in _dataset(bundles[start : start + _WINDOW], config, resources).iter_rows():
                yield Receipt(**{**row, "counts": json.loads(row["counts"])})
        except (RayError, ray.data.exceptions.SystemException, TimeoutError) as error:
            reason = str(error).strip().splitlines()[-1]  # the innermost of the tracebacks that Ray puts into one text
            if reason.startswith(_MODEL_ERROR):
                raise ModelError(reason.removeprefix(_MODEL_ERROR)) from error
            raise EngineError(f"Ray gave up: {reason}; run the same command again to resume") from error


def _dataset(bundles: Sequence[Bundle], config: ActorConfig, resources: Resources) -> Any:
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    context.execution_no_progress_timeout_s = max(_NO_PROGRESS_SECONDS, 10 * (config.deadline_s or 0.0))
    context.max_consecutive_actor_init_deaths = 3
    context.actor_init_retry_on_errors = True
    rows = [{"bundle": bundle_to_json(bundle)} for bundle in bundles]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset = dataset.map_batches(
        render,
        batch_size=1,
        batch_format="pyarrow",
        fn_kwargs={
            "settings": config.settings,
            "limits": RenderLimits(memory_bytes=resources.render_memory_bytes),
        },
        num_cpus=resources.render_cpus,
        memory=resources.render_memory_bytes,
        compute=ray.data.TaskPoolStrategy(size=resources.renders),
    )
    return dataset.map_batches(
        AnswerActor,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_kwargs={"config": config},
        compute=ray.data.ActorPoolStrategy(size=resources.actors, max_tasks_in_flight_per_actor=2),
        num_cpus=resources.actor_cpus,
        num_gpus=resources.actor_gpus or None,
    )
