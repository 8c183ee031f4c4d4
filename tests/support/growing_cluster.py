"""A run on a cluster that gets a second node on the way: ``python -m tests.support.growing_cluster FOLDER``."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from jobs.run.job import run_job
from jobs.run.ray_engine import RayEngine
from jobs.run.ray_workers import ActorConfig
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.records import Receipt, RenderedBundle
from tests.support.colours import load_slowly_answering
from tests.support.engines import QUESTIONS, settings_of

NODE = {"num_cpus": 3, "num_gpus": 1, "object_store_memory": 80 << 20}  # nobody looks whether there is a GPU
_SECONDS = 1.5  # that a bundle takes longer until both nodes answer, so that there is work left when the node has come


def load_noting_nodes(config: ActorConfig) -> BundleAnswerer:
    """An answerer that notes for each bundle the node and the process that answered it."""
    answerer = load_slowly_answering(config)
    original, node = answerer.run, ray.get_runtime_context().get_node_id()
    noted = Path(config.output).with_name("noted")

    def run(rendered: RenderedBundle) -> Receipt:
        (noted / uuid.uuid4().hex).write_text(json.dumps([node, os.getpid()]))
        if len({node for node, _ in notes(noted)}) == 1:
            time.sleep(_SECONDS)
        return original(rendered)

    answerer.run = run  # type: ignore[method-assign]
    return answerer


def notes(folder: Path) -> list[list[object]]:
    """Node and process of each bundle, once for each pair."""
    return sorted({tuple(json.loads(path.read_text())) for path in list(folder.iterdir()) if path.stat().st_size})  # type: ignore[arg-type]


def main() -> None:
    """Run over FOLDER/in into FOLDER/out, and print who answered before the node came and in all."""
    folder, base = Path(sys.argv[1]), Path(sys.argv[2])
    noted = folder / "noted"
    noted.mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.connect()
    before: list[list[object]] = []
    original = RayEngine.receipts

    def receipts(*given: Any, **named: Any) -> Iterator[Receipt]:
        for number, receipt in enumerate(original(*given, **named)):
            if number == 0:
                before.extend(notes(noted))
                cluster.add_node(**NODE)  # here, since Ray sets signal handlers, which only the main thread may
            yield receipt

    RayEngine.receipts = receipts  # type: ignore[method-assign]
    run = settings_of(folder / "in", folder / "out", "ray", base, actors="1-4")
    run = run.model_copy(update={"choice": run.choice.model_copy(update={"device": "auto"})})
    report = run_job(run, QUESTIONS, address="auto", load=load_noting_nodes)
    found = {"before": before, "after": notes(noted), "counts": report["counts"], "this_run": report["this_run"]}
    sys.stdout.write(json.dumps(found))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
