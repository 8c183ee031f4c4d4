"""A small run on a Ray whose metrics are read as Prometheus would.

As a program with FOLDER and BASE, it works on FOLDER/in into FOLDER/out, and prints what was seen.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import ray
from prometheus_client.parser import text_string_to_metric_families

from jobs.run.job import run_job
from jobs.run.metrics import METRICS
from jobs.run.ray_workers import ActorConfig
from tests.support.engines import QUESTIONS, settings_of

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

LABELS = {f"ray_{metric.name}": metric.label for metric in METRICS.values()}
Samples = dict[str, dict[str, float]]  # the values of each sample, by our label


def scrape(port: int) -> Samples:
    """Sum the samples of one look by our own label; other metrics of Ray are 0."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: Samples = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            label = LABELS.get(sample.name)
            key = "" if label is None else sample.labels[label]
            found[sample.name][key] += sample.value if sample.name in LABELS else 0.0
    return found


def load(config: ActorConfig) -> BundleAnswerer:
    from tests.support.colours import load_slowly_answering  # which imports torch, of which no driver has need

    return load_slowly_answering(config)


def main() -> None:
    folder, base = Path(sys.argv[1]), Path(sys.argv[2])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=150 << 20,
        log_to_driver=False,
        logging_level="ERROR",
        _metrics_export_port=port,
        _system_config={"metrics_report_interval_ms": 1000},
    )
    over, seen = threading.Event(), Samples()

    def watch() -> None:
        while not over.is_set():
            try:
                seen.update(scrape(port))
            except URLError:  # the agent is not up yet
                pass
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run = settings_of(folder / "in", folder / "out", "ray", base)
    report = run_job(run, QUESTIONS, load=load)
    deadline = time.monotonic() + 20
    last = {"ray_docpipe_pages_total": report["pages"], "ray_docpipe_bundles_left": 0}  # of an actor, and of the driver
    while time.monotonic() < deadline and any(seen.get(name, {}).get("") != value for name, value in last.items()):
        time.sleep(0.5)  # what a process counted last comes with its next report
    over.set()
    watcher.join()
    counts = {**report["counts"], "pages": report["pages"], "bundles": report["this_run"]["bundles"]}
    sys.stdout.write(json.dumps({"counts": counts, "samples": seen}))
    ray.shutdown()
