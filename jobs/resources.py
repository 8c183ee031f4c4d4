"""How many actors and renderers run, and what each takes; arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import UsageError

_GIB = 1 << 30
_ACTOR_CPUS = 0.5  # differs from _RENDER_CPUS, or Ray Data fuses rendering into the actor that holds the model
_RENDER_CPUS = 1.0
_RENDERS_PER_ACTOR = 3
_CPUS_PER_CPU_ACTOR = 16  # one CPU actor feeds about this many cores through torch's own threads


@dataclass(frozen=True, slots=True)
class Resources:
    """What the engine asks Ray for.

    Attributes:
        actors: processes that hold a model.
        actor_cpus: Ray CPUs of each.
        actor_gpus: Ray GPUs of each; 0 without.
        actor_threads: torch threads of each.
        renders: render tasks at a time.
        render_cpus: Ray CPUs of each.
        render_memory_bytes: address space limit of each render process, and Ray memory.
    """

    actors: int
    actor_cpus: float
    actor_gpus: float
    actor_threads: int
    renders: int
    render_cpus: float
    render_memory_bytes: int


def plan_resources(
    cpus: float, gpus: float, memory_bytes: int, actors: int | None, gpus_per_actor: float | None, use_gpu: bool
) -> Resources:
    """Share a machine or cluster between models and renderers.

    Args:
        cpus: of the cluster.
        gpus: of the cluster.
        memory_bytes: that Ray may give to tasks.
        actors: asked for; ``None`` picks as many as there are GPUs for, or one for 16 cores.
        gpus_per_actor: asked for; ``None`` takes one where there are GPUs.
        use_gpu: whether the model may run on a GPU at all.

    Raises:
        UsageError: the actors would not fit, or would leave no CPU to render with.
    """
    if gpus_per_actor is not None and (not use_gpu or gpus < gpus_per_actor):
        raise UsageError(f"--gpus-per-actor {gpus_per_actor:g} was asked for, and {gpus:g} GPUs can be used")
    actor_gpus = gpus_per_actor if gpus_per_actor is not None else (1.0 if use_gpu and gpus >= 1 else 0.0)
    if actors is None:
        actors = int(gpus // actor_gpus) if actor_gpus else max(1, int(cpus // _CPUS_PER_CPU_ACTOR))
    if actor_gpus and actors * actor_gpus > gpus:
        raise UsageError(f"{actors} actors with {actor_gpus:g} GPUs each need more than the {gpus:g} there are")
    left = cpus - actors * _ACTOR_CPUS
    if left < _RENDER_CPUS:
        raise UsageError(
            f"{actors} actors leave {max(left, 0):g} of {cpus:g} CPUs, and rendering needs {_RENDER_CPUS:g}; "
            f"ask for {max(1, int((cpus - _RENDER_CPUS) / _ACTOR_CPUS))} --actors at most"
        )
    renders = min(_RENDERS_PER_ACTOR * actors, int(left // _RENDER_CPUS))
    return Resources(
        actors=actors,
        actor_cpus=_ACTOR_CPUS,
        actor_gpus=actor_gpus,
        actor_threads=max(1, math.floor(cpus / actors)),
        renders=renders,
        render_cpus=_RENDER_CPUS,
        render_memory_bytes=int(min(4 * _GIB, max(_GIB, memory_bytes / (2 * renders)))),
    )
