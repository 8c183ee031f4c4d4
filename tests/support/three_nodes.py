"""A cluster of three nodes on this machine that loses a node, gains one and loses its driver while a run goes on.

``report`` runs it in a process of its own, which writes what happened as one line of JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from jobs.run.job import run_job
from jobs.run.ray_workers import ActorConfig
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.questions.file import QuestionSet, parse_questions
from tests.support.colours import ColourReader, load_colours

QUESTIONS = "version: 1\nquestions: [{id: a, text: A}, {id: b, text: B, pages: '1,-1'}]"
_PATIENCE_S = 100.0


def asked() -> QuestionSet:
    return parse_questions(QUESTIONS, "q.yaml")


def settings(given: str, out: str, model: str, engine: str) -> RunSettings:
    return RunSettings(
        input=(given,),
        questions="q.yaml",
        output=out,
        model=model,
        engine=engine,
        device="cpu",
        max_visual_tokens=16,
        quiet=True,
    )


def load_steadily(config: ActorConfig) -> BundleAnswerer:
    """Half a second or so per bundle of 17 pages would be over before anything can happen to it."""
    answerer = load_colours(config)
    answerer.page_answerer = ColourReader(seconds=0.1)  # type: ignore[assignment]
    return answerer


def drive(address: str, *given: str) -> None:
    """The driver, which runs where the head is."""
    run_job(settings(*given, engine="ray"), asked(), address, load=load_steadily)


def report(*given: str) -> None:
    """Write what happened."""
    os.environ["RAY_worker_niceness"] = "0"
    sys.stdout.write(json.dumps(happen(*given)) + "\n")


def happen(given: str, out: str, model: str) -> dict[str, Any]:
    """Do a run on a cluster to which things happen."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    spawn = multiprocessing.get_context("spawn")

    def started() -> multiprocessing.process.BaseProcess:
        process = spawn.Process(target=drive, args=(cluster.address, given, out, model))
        process.start()
        return process

    def parts() -> int:
        return len(list(Path(out, "parts").glob("*.parquet")))

    driver = started()
    wait_until(lambda: parts() > 0)
    holder = next((node for node in cluster.list_all_nodes()[1:] if holds_a_model(node)), None)
    removed = holder or cluster.list_all_nodes()[-1]
    cluster.remove_node(removed, allow_graceful=False)
    at_removal = parts()
    cluster.add_node(num_cpus=1)
    wait_until(lambda: parts() > at_removal)
    driver.kill()
    driver.join()
    at_kill = parts()
    again = started()
    again.join(_PATIENCE_S)
    code = again.exitcode
    again.kill()
    cluster.shutdown()
    return {"held_a_model": holder is not None, "parts": [at_removal, at_kill, parts()], "exit_code": code}


def holds_a_model(node: Any) -> bool:
    """Tell whether an actor runs on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return any("AnswerActor" in " ".join(child.cmdline()) for child in raylet.children(recursive=True))


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing more was committed")
        time.sleep(0.05)
