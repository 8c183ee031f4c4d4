"""Decides how many actors and renderers run, and what each takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobs.actor_range import ActorRange
from pipeline.errors import UsageError

_GIB = 1 << 30
_RENDER_CPUS = 1.0
_ACTOR_SHARE = 0.5  # of a renderer's CPUs; never 1, or Ray Data fuses rendering into the actor that holds the model
_RENDERS_PER_ACTOR = 3
_ROUNDING = 1e-9  # five shares of .2 are a whole GPU
_CPUS_PER_CPU_ACTOR = 16  # one CPU actor feeds about this many cores through torch's own threads


@dataclass(frozen=True, slots=True)
class Resources:
    """The processes of an engine, and what each of them takes.

    Attributes:
        actors: number of processes that hold a model.
        actor_cpus: Ray CPUs per actor.
        actor_gpus: Ray GPUs per actor; 0 without a GPU.
        actor_threads: torch threads per actor.
        renders: number of render tasks at a time.
        render_cpus: Ray CPUs per render task.
        render_memory_bytes: address space limit and Ray memory per render task, in bytes.
        actor_range: range within which Ray changes the number of actors; ``None`` if it stays.
    """

    actors: int
    actor_cpus: float
    actor_gpus: float
    actor_threads: int
    renders: int
    render_cpus: float
    render_memory_bytes: int
    actor_range: ActorRange | None = None

    @property
    def most_renders(self) -> int:
        """Return the largest number of render tasks at a time, also when the cluster has grown."""
        return self.renders if self.actor_range is None else _RENDERS_PER_ACTOR * self.actor_range.most


def plan_resources(
    cpus: float,
    gpus: float,
    memory_bytes: int,
    actors: int | ActorRange | None,
    gpus_per_actor: float | None,
    device: str,
    nodes: int = 1,
) -> Resources:
    """Share a machine or cluster between models and renderers.

    Args:
        cpus: CPUs of the cluster.
        gpus: GPUs of the cluster.
        memory_bytes: memory that Ray may give to tasks, in bytes.
        actors: number of actors to run; ``None`` takes as many as the GPUs allow, or one per 16 cores without GPUs; a
            range starts with that many, within its bounds.
        gpus_per_actor: GPUs per actor; ``None`` takes one if there are GPUs.
        device: device on which the model is to run: ``auto``, ``cpu``, ``cuda``.
        nodes: number of nodes that have these CPUs.

    Raises:
        UsageError: a GPU is asked for and there is none, the actors do not fit, or they leave no CPU or memory to
            render with.
    """
    if memory_bytes < _GIB:
        raise UsageError(
            f"Ray has {memory_bytes / _GIB:.1f} GiB of memory for tasks, but rendering needs 1 GiB; free some memory, "
            "or pass --engine local"
        )
    if device.startswith("cuda") and not gpus:
        raise UsageError(f"--device {device} needs a GPU, but Ray sees no GPU; `docpipe doctor` lists the devices")
    if not (device == "auto" or device.startswith("cuda")):
        gpus = 0.0
    if gpus_per_actor is not None and gpus < gpus_per_actor:
        raise UsageError(
            f"--gpus-per-actor {gpus_per_actor:g} exceeds the {gpus:g} GPUs that --device {device} can use; lower it "
            "or choose another --device"
        )
    actor_gpus = gpus_per_actor if gpus_per_actor is not None else min(1.0, gpus)
    actor_range = actors if isinstance(actors, ActorRange) else None
    if actors is None or isinstance(actors, ActorRange):
        fitting = _actors_on(gpus, actor_gpus) if actor_gpus else max(1, int(cpus // _CPUS_PER_CPU_ACTOR))
        actors = fitting if actor_range is None else min(max(fitting, actor_range.least), actor_range.most)
    if actor_gpus and actors > _actors_on(gpus, actor_gpus):
        raise UsageError(
            f"{actors} actors with {actor_gpus:g} GPUs each do not fit on the {gpus:g} there are; ask for "
            f"{_actors_on(gpus, actor_gpus)} --actors at most"
        )
    render_cpus = min(_RENDER_CPUS, cpus / 2)  # a single core is shared as well
    if nodes > 1:  # wherever the actors are, one node has room for a renderer
        most = actors if actor_range is None else actor_range.most
        render_cpus = min(render_cpus, math.floor(cpus / (nodes + _ACTOR_SHARE * most) * 100) / 100)
    actor_cpus = _ACTOR_SHARE * render_cpus
    left = cpus - actors * actor_cpus
    if left < render_cpus:
        raise UsageError(
            f"{actors} actors leave {max(left, 0):g} of {cpus:g} CPUs, and rendering needs {render_cpus:g}; "
            f"ask for {int((cpus - render_cpus) / actor_cpus)} --actors at most"
        )
    renders = min(_RENDERS_PER_ACTOR * actors, int(left // render_cpus), memory_bytes // _GIB)
    return Resources(
        actors=actors,
        actor_cpus=actor_cpus,
        actor_gpus=actor_gpus,
        actor_threads=max(1, math.floor(cpus / actors)),
        renders=renders,
        render_cpus=render_cpus,
        render_memory_bytes=min(4 * _GIB, max(_GIB, memory_bytes // (2 * max(renders, nodes)))),
        actor_range=actor_range,
    )


def _actors_on(gpus: float, actor_gpus: float) -> int:
    """Count the actors that fit, each on one GPU; Ray may have a part of a GPU beside the whole ones."""
    whole, part = divmod(gpus, 1)
    return int(whole) * int(1 / actor_gpus + _ROUNDING) + int(part / actor_gpus + _ROUNDING)
