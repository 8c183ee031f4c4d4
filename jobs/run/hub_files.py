"""Brings the files of a model from the hub to every node once, before its actors load them side by side."""

from __future__ import annotations

from jobs.ray_session import nodes_with
from pipeline.answering.checkpoints import fetch, on_the_hub
from pipeline.records import AnswerSettings


def fetch_on_nodes(settings: AnswerSettings, gpus: bool) -> None:
    """Download a run's model and add-on on each node that can hold an actor, on all of them at once.

    A node that joins later downloads them with its first actor.

    Args:
        settings: settings of the run.
        gpus: whether actors need a GPU.

    Raises:
        ModelError: a node cannot reach the hub.
    """
    if not on_the_hub(settings):
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0)(fetch)
    ray.get(
        [
            task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(settings)
            for node in nodes_with("GPU" if gpus else "CPU")
        ]
    )
