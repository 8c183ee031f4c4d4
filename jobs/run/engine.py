"""Defines the contract of an engine, bundles in and receipts out, and chooses between the two engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from jobs.run.ray_workers import ActorConfig
from jobs.run.resources import Resources
from jobs.settings import RunSettings
from pipeline.records import Bundle, Receipt

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

LITTLE_PAGES = 64
"""Number of pages below which a run takes no longer than starting Ray."""


class Engine(Protocol):
    """Works through bundles: it renders, answers and commits each, and yields its receipt.

    Attributes:
        name: value of ``--engine`` that stands for this engine.
    """

    name: str

    def session(self) -> AbstractContextManager[None]:
        """Start what the engine runs in, as a context.

        Raises:
            EngineError: the session does not start.
        """

    def resources(self, run: RunSettings) -> Resources:
        """Share the machine or cluster between models and renderers, inside the session.

        Args:
            run: settings of the run.

        Raises:
            UsageError: the machine or cluster lacks what the settings ask for.
        """

    def receipts(
        self,
        bundles: Iterable[Bundle],
        config: ActorConfig,
        resources: Resources,
        load: Callable[[ActorConfig], BundleAnswerer],
    ) -> Iterator[Receipt]:
        """Work through bundles, and yield one receipt per finished bundle, in any order.

        A lost bundle yields no receipt and no exception; the caller compares planned with completed.

        Args:
            bundles: bundles to work through; only some of them are taken at a time.
            config: configuration of a process that holds a model.
            resources: result of :meth:`resources`.
            load: function that makes the bundle answerer.

        Raises:
            ModelError: the model cannot be loaded.
            EngineError: the engine gives up.
        """

    def pages_done(self) -> int:
        """Count the pages done since :meth:`receipts` was called, for progress; any thread may call this."""


def choose_engine(run: RunSettings, address: str | None, pages: int) -> tuple[Engine, str]:
    """Choose the engine of a run, and give the reason.

    Args:
        run: settings of the run.
        address: address of the Ray cluster that this process runs in; ``None`` outside of a cluster.
        pages: number of pages still to do.
    """
    from jobs.run.loop_engine import LoopEngine
    from jobs.run.ray_engine import RayEngine

    if run.engine == "local":
        return LoopEngine(), "requested by --engine"
    if run.engine == "ray" or address is not None:
        return RayEngine(address), "requested by --engine" if run.engine == "ray" else "submitted to a cluster"
    if pages >= LITTLE_PAGES:
        return RayEngine(None), f"there are {pages} pages to do, enough to start Ray for"
    if run.actors not in (None, 1) or run.gpus_per_actor is not None:
        return RayEngine(None), "--actors or --gpus-per-actor needs Ray"
    if run.choice.device != "cpu" and _gpus() > 1:
        return RayEngine(None), "there are several GPUs"
    return LoopEngine(), f"pages to do: {pages}; starting Ray takes longer than answering them"


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
