"""A cluster on this machine that loses a node, loses its driver and gains a node while a run goes on.

As a program with FOLDER and BASE, it works on FOLDER/in into FOLDER/out, and prints what happened.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
import uuid
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray.cluster_utils import Cluster

from jobs.run.job import run_job
from jobs.run.ray_workers import ActorConfig
from pipeline.records import Receipt, RenderedBundle
from tests.support.engines import QUESTIONS, settings_of

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

HEAD = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20}  # nothing is rendered there
NODE = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": 80 << 20}  # nobody looks whether there is a GPU
_SECONDS = 1.5  # that a bundle takes longer until all has happened
_LAST = 8  # bundles that wait until then, so that there is work left for a node that is slow to join
_PATIENCE_S = 100.0


def count_parts(folder: Path) -> int:
    return len(list((folder / "out" / "parts").glob("*.parquet")))


def load_noting_nodes(config: ActorConfig) -> BundleAnswerer:
    """An answerer that notes for each bundle the node and the process that answered it."""
    from tests.support.colours import load_colours  # which imports torch, of which no driver has need

    answerer = load_colours(config)
    original, node = answerer.run, ray.get_runtime_context().get_node_id()
    folder = Path(config.output).parent
    noted = folder / "noted" / config.run_id
    noted.mkdir(parents=True, exist_ok=True)

    def run(rendered: RenderedBundle) -> Receipt:
        (noted / uuid.uuid4().hex).write_text(json.dumps([node, os.getpid()]))
        left = len(list((folder / "in").iterdir())) - count_parts(folder)
        deadline = time.monotonic() + (_SECONDS if left > _LAST else _PATIENCE_S)
        while not (folder / "over").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return original(rendered)

    answerer.run = run  # type: ignore[method-assign]
    return answerer


def drive(address: str, folder: Path, base: Path) -> None:
    """Do the run as a driver on the head does."""
    run = settings_of(folder / "in", folder / "out", "ray", base, actors="1-4")
    run = run.model_copy(update={"choice": run.choice.model_copy(update={"device": "auto"})})
    run_job(run, QUESTIONS, address, load=load_noting_nodes)


def main() -> None:
    """Print the committed parts when the node went, when the driver was killed and at the end, and who answered."""
    folder, base = Path(sys.argv[1]), Path(sys.argv[2])
    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    nodes = [cluster.add_node(**NODE) for _ in range(2)]
    spawn = multiprocessing.get_context("spawn")

    def started() -> BaseProcess:
        process = spawn.Process(target=drive, args=(cluster.address, folder, base))
        process.start()
        return process

    def wait_until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not true():
            if time.monotonic() > deadline or not driver.is_alive():
                raise RuntimeError(f"nothing more happened; exit code {driver.exitcode}, {parts()} parts")
            time.sleep(0.05)

    def parts() -> int:
        return count_parts(folder)

    def notes(run: int) -> list[list[object]]:
        """Node and process of each bundle of a run, once for each pair."""
        runs = sorted((folder / "noted").glob("*"))  # their names begin with the time
        files = [path for path in runs[run].iterdir() if path.stat().st_size] if len(runs) > run else []
        return sorted({tuple(json.loads(path.read_text())) for path in files})  # type: ignore[arg-type]

    def nodes_of(run: int) -> int:
        return len({node for node, _ in notes(run)})

    driver = started()
    wait_until(lambda: parts() > 0 and nodes_of(0) == len(nodes))
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    at_removal = parts()
    wait_until(lambda: parts() > at_removal)
    driver.kill()
    driver.join()
    at_kill = parts()

    driver = started()
    wait_until(lambda: nodes_of(1) == 1)
    before = notes(1)
    cluster.add_node(**NODE)
    wait_until(lambda: nodes_of(1) == 2)
    (folder / "over").touch()
    driver.join(_PATIENCE_S)
    found = {"exit_code": driver.exitcode, "parts": [at_removal, at_kill, parts()], "before": before, "after": notes(1)}
    driver.kill()
    sys.stdout.write(json.dumps(found))
    cluster.shutdown()
