"""Where a run on many GPUs meets its limit: its queues, simulated with the stage times that one machine has.

    python benchmarks/simulation.py measure --out figures.json   # CPU seconds of rendering and of the driver, here
    python benchmarks/simulation.py simulate --figures figures.json

Bundles pass the driver, a renderer that fetches and draws their pages, an actor that answers and commits them, and the
driver again, as the Ray engine moves them: three renderers per actor at most, two bundles at an actor, one driver.
The times of a GPU and of an object store are not measured; they are the options below, and stand in the table's title.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import simpy

GPUS = (1, 8, 32, 100, 200, 500, 1000)
BUNDLE_PAGES = 32
RENDERS_PER_ACTOR = 3  # as jobs.run.resources plans them
AT_AN_ACTOR = 2  # bundles, as jobs.run.ray_engine asks for them
SPREAD = 0.5  # the times of pages vary by this share of their mean


@dataclass(frozen=True)
class Figures:
    """What the stages take; the first two are CPU seconds of one core, measured, the others are assumed."""

    render_s_per_page: float
    driver_s_per_bundle: float
    model_s_per_page: float = 0.32  # two million pages on twenty GPUs in nine hours
    page_mb: float = 0.2  # of a PDF
    first_byte_s: float = 0.1  # of an object store, per document
    stream_mb_s: float = 50.0
    store_mb_s: float = 3000.0  # all streams together
    commit_s: float = 0.2  # per bundle
    document_pages: int = 8


@dataclass(frozen=True)
class Outcome:
    pages_per_s: float
    model: float
    renderers: float
    store: float
    driver: float


class Cluster:
    """The queues of a run with one actor per GPU."""

    def __init__(self, gpus: int, cpus_per_gpu: float, figures: Figures, bundles: int) -> None:
        self.figures, self.bundles = figures, bundles
        self.env = simpy.Environment()
        # An actor takes half a CPU, and every renderer one.
        self.renderers = max(1, min(RENDERS_PER_ACTOR * gpus, int(gpus * (cpus_per_gpu - 0.5))))
        self.gpus = gpus
        self.driver = simpy.Resource(self.env)
        self.streams = simpy.Resource(self.env, max(1, int(figures.store_mb_s / figures.stream_mb_s)))
        self.waiting, self.rendered = simpy.Store(self.env), simpy.Store(self.env, AT_AN_ACTOR * gpus)
        self.busy = dict.fromkeys(("model", "renderers", "store", "driver"), 0.0)
        self.done = 0
        self.random = random.Random(0)

    def run(self) -> Outcome:
        self.env.process(self.dispatch())
        for _ in range(self.renderers):
            self.env.process(self.render())
        for _ in range(self.gpus):
            self.env.process(self.answer())
        self.env.run()  # until the driver has read the last receipt
        span = self.env.now
        capacity = {"model": self.gpus, "renderers": self.renderers, "store": self.streams.capacity, "driver": 1}
        shares = {name: self.busy[name] / (span * capacity[name]) for name in self.busy}
        return Outcome(self.bundles * BUNDLE_PAGES / span, **shares)

    def dispatch(self) -> Iterator[Any]:
        for _ in range(self.bundles):
            yield from self.by_driver()
            yield self.waiting.put(BUNDLE_PAGES)
        for _ in range(self.renderers):
            yield self.waiting.put(None)

    def by_driver(self) -> Iterator[Any]:
        """Half of what a bundle costs the driver comes before it, half with its receipt."""
        with self.driver.request() as turn:
            yield turn
            yield from self.spend("driver", self.figures.driver_s_per_bundle / 2)

    def render(self) -> Iterator[Any]:
        f = self.figures
        while (pages := (yield self.waiting.get())) is not None:
            began = self.env.now
            with self.streams.request() as stream:
                yield stream
                documents = max(1, pages // f.document_pages)
                yield from self.spend("store", documents * f.first_byte_s + pages * f.page_mb / f.stream_mb_s)
            yield self.env.timeout(self.varied(pages * f.render_s_per_page))
            self.busy["renderers"] += self.env.now - began
            yield self.rendered.put(pages)
        self.done += 1
        if self.done == self.renderers:
            for _ in range(self.gpus):
                yield self.rendered.put(None)

    def answer(self) -> Iterator[Any]:
        f = self.figures
        while (pages := (yield self.rendered.get())) is not None:
            yield from self.spend("model", self.varied(pages * f.model_s_per_page))
            yield self.env.timeout(f.commit_s)
            self.env.process(self.by_driver())  # the actor does not wait for its receipt to be read

    def spend(self, what: str, seconds: float) -> Iterator[Any]:
        yield self.env.timeout(seconds)
        self.busy[what] += seconds

    def varied(self, seconds: float) -> float:
        return seconds * self.random.uniform(1 - SPREAD, 1 + SPREAD)


def simulate(gpus: int, cpus_per_gpu: float, figures: Figures) -> Outcome:
    return Cluster(gpus, cpus_per_gpu, figures, bundles=20 * gpus).run()


def limit(outcome: Outcome) -> str:
    shares = asdict(outcome)
    shares.pop("pages_per_s")
    return max(shares, key=lambda name: shares[name])


def measure(folder: Path) -> dict[str, float]:
    """CPU seconds of this machine, which another program that runs beside changes little."""
    return {"render_s_per_page": measure_rendering(folder), "driver_s_per_bundle": measure_driver(folder)}


def measure_rendering(folder: Path) -> float:
    """Pages of forms at the size that Qwen2.5-VL takes at 200 dpi, in one render child."""
    import psutil

    from pipeline.pages.documents import list_documents
    from pipeline.pages.renderer import RenderChild
    from pipeline.records import PixelBudget
    from pipeline.samples.families import FAMILIES
    from pipeline.samples.write import pick_seeds, write_samples

    write_samples(folder / "forms", pick_seeds(0, 60), FAMILIES["known"])
    budget = PixelBudget(28, 4 * 784, 16384 * 784, "pipeline.families.qwen2_5_vl")
    documents = list_documents([str(folder / "forms/pdfs")])
    with RenderChild() as child:
        list(child.render(documents[0], [1], 200, budget))  # which starts the child
        process = next(p for p in psutil.Process().children(recursive=True) if "render_child" in " ".join(p.cmdline()))
        before, pages = process.cpu_times(), 0
        for document in documents:
            pages += len(list(child.render(document, list(range(1, child.count_pages(document) + 1)), 200, budget)))
        after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / pages


def measure_driver(folder: Path, few: int = 50, many: int = 200) -> float:
    """CPU seconds of the driver per bundle, beyond what a run costs once.

    The pages are blank and small, so that model and renderer have little to do, which costs the driver nothing.
    """
    import pymupdf

    from jobs.run.job import run_job
    from jobs.settings import RunSettings
    from pipeline.questions.file import parse_questions

    asked = parse_questions('version: 1\nquestions: [{id: total, text: "What is the total?"}]', "q.yaml")
    spent = {}
    for bundles in (few, many):
        pdfs = folder / f"blank{bundles}"
        pdfs.mkdir()
        for number in range(bundles):
            with pymupdf.open() as pdf:
                for _ in range(BUNDLE_PAGES):
                    pdf.new_page(width=72, height=72)
                pdf.save(pdfs / f"{number}.pdf")
        out = str(folder / f"answers{bundles}")
        run = RunSettings(input=(str(pdfs),), questions="q.yaml", output=out, engine="ray", quiet=True)
        began = time.process_time()
        run_job(run, asked)
        spent[bundles] = time.process_time() - began
    return (spent[many] - spent[few]) / (many - few)


def table(figures: Figures, cpus_per_gpu: float) -> Iterator[str]:
    yield f"{figures.model_s_per_page:g} s a page on a GPU, {cpus_per_gpu:g} CPUs per GPU, {BUNDLE_PAGES} pages each"
    yield ""
    yield "| GPUs | pages/s | of the ideal | models busy | renderers busy | store busy | driver busy | limit |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for gpus in GPUS:
        found = simulate(gpus, cpus_per_gpu, figures)
        ideal = gpus / figures.model_s_per_page
        shares = [found.pages_per_s / ideal, found.model, found.renderers, found.store, found.driver]
        cells = [f"{gpus}", f"{found.pages_per_s:.1f}", *(f"{share:.0%}" for share in shares), limit(found)]
        yield f"| {' | '.join(cells)} |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("measure").add_argument("--out", type=Path, required=True)
    simulated = commands.add_parser("simulate")
    simulated.add_argument("--figures", type=Path, required=True)
    simulated.add_argument("--model-s-per-page", type=float, nargs="+", default=[0.32, 0.05])
    simulated.add_argument("--cpus-per-gpu", type=float, nargs="+", default=[8.0, 2.0])
    given = parser.parse_args()
    if given.command == "measure":
        with TemporaryDirectory() as folder:
            figures = measure(Path(folder))
        given.out.write_text(json.dumps(figures, indent=2) + "\n")
        print(json.dumps(figures))
        return
    figures = Figures(**json.loads(given.figures.read_text()))
    print(json.dumps(asdict(figures)))
    for seconds in given.model_s_per_page:
        for cpus in given.cpus_per_gpu:
            print("\n".join(table(replace(figures, model_s_per_page=seconds), cpus)))


if __name__ == "__main__":
    main()
