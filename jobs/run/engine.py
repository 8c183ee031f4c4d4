"""The contract of an engine: bundles in, receipts out; and the choice between the two that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from jobs.run.ray_workers import ActorConfig
from jobs.run.resources import Resources
from jobs.settings import RunSettings
from pipeline.records import Bundle, Receipt

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

LITTLE_PAGES = 64
"""Pages below which a run takes no longer than starting Ray does."""


class Engine(Protocol):
    """Works through bundles: it renders, answers and commits each, and says so.

    Attributes:
        name: value of ``--engine``.
    """

    name: str

    def session(self) -> AbstractContextManager[None]:
        """Enter what the engine runs in.

        Raises:
            EngineError: it does not start.
        """

    def resources(self, run: RunSettings) -> Resources:
        """Share the machine or cluster between models and renderers; called inside the session.

        Args:
            run: the settings.

        Raises:
            UsageError: what was asked for is not there.
        """

    def receipts(
        self,
        bundles: Sequence[Bundle],
        config: ActorConfig,
        resources: Resources,
        load: Callable[[ActorConfig], BundleAnswerer],
    ) -> Iterator[Receipt]:
        """Work through bundles; yields a receipt for each that was committed, in any order.

        A bundle that is lost yields no receipt and no exception: the caller compares planned with completed.

        Args:
            bundles: what to do.
            config: what a process with a model needs to know.
            resources: result of :meth:`resources`.
            load: makes the object that answers.

        Raises:
            ModelError: the model cannot be loaded.
            EngineError: the engine gives up.
        """


def choose_engine(run: RunSettings, address: str | None, pages: int) -> tuple[Engine, str]:
    """Choose the engine of a run, and say why.

    Args:
        run: the settings.
        address: Ray cluster that this process runs in; ``None`` outside of one.
        pages: pages that are still to do.
    """
    from jobs.run.loop_engine import LoopEngine
    from jobs.run.ray_engine import RayEngine

    if run.engine == "local":
        return LoopEngine(), "asked for"
    if run.engine == "ray" or address is not None:
        return RayEngine(address), "asked for" if run.engine == "ray" else "submitted to a cluster"
    if pages >= LITTLE_PAGES:
        return RayEngine(None), f"{pages} pages to do"
    if (run.actors or 1) > 1 or run.gpus_per_actor is not None:
        return RayEngine(None), "actors were asked for"
    if run.choice.device != "cpu" and _gpus() > 1:
        return RayEngine(None), "there are several GPUs"
    return LoopEngine(), f"only {pages} pages to do, which takes less time than starting Ray"


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
