"""Two Ray nodes of one CPU each on this machine against one: how much more a second node gets done.

    python benchmarks/two_nodes.py --out two_nodes [--documents 192]

Each cluster is a process of its own, with one actor of nano per node. The machine needs two free cores, or the nodes
share them. `moved` counts bundles whose pages were rendered on the other node.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

QUESTIONS = "version: 1\ndefaults: {max_new_tokens: 12}\nquestions: [{id: total, text: 'What is the total?'}]"


def run(nodes: int, folder: Path) -> None:
    """Do the run on so many nodes, and print what `run.json` says of it."""
    import ray
    from ray.cluster_utils import Cluster

    from jobs.run.job import run_job
    from jobs.settings import RunSettings
    from pipeline.questions.file import parse_questions

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=1)
    cluster.connect()
    output = str(folder / f"answers-{nodes}")
    flags = {"engine": "ray", "actors": nodes, "quiet": True}
    settings = RunSettings(input=(str(folder / "pdfs"),), questions="q.yaml", output=output, **flags)
    with contextlib.redirect_stderr(io.StringIO()):
        report = run_job(settings, parse_questions(QUESTIONS, "q.yaml"), address="auto")
    print(json.dumps({"counts": report["counts"], **report["this_run"]}))
    ray.shutdown()
    cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=192)
    parser.add_argument("--nodes", type=int)  # inside a process of its own
    given = parser.parse_args()
    if given.nodes is not None:
        run(given.nodes, given.out)
        return
    from pipeline.samples.families import FAMILIES
    from pipeline.samples.write import pick_seeds, write_samples

    write_samples(given.out, pick_seeds(0, given.documents), FAMILIES["known"])
    print("| nodes | pages | bundles | moved | answering s | pages/s | x one node | model busy |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    first = None
    for nodes in (1, 2):
        command = [sys.executable, __file__, "--out", str(given.out), "--nodes", str(nodes)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(said.splitlines()[-1])
        speed = found["pages"] / found["answering_s"]
        first = first or speed
        cells = [nodes, found["pages"], found["bundles"], found["moved_bundles"], f"{found['answering_s']:.1f}"]
        cells += [f"{speed:.2f}", f"{speed / first:.2f}", f"{found['model_busy_share']:.1%}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
