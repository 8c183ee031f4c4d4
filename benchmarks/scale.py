"""Plans and publishes many documents with twenty questions each, with a stub in the place of renderer and model.

    python benchmarks/scale.py --documents 100000 --out scale/
    tail -n 1 scale/memory.jsonl    # how far it is
    python benchmarks/scale.py --out scale/ --draw    # scale/memory.svg, also while the other goes on

The documents are empty files whose page counts are known already, so nothing is rendered. The stub commits made-up
rows, one page per document. Everything else is a run as it is: listing, units, bundles, parts, publications, the
report; then a second run that finds nothing to do, the merging of parts, and a third run. The process is the driver;
its memory, descriptors, threads and children go to ``memory.jsonl`` every two seconds, a line per step to
``steps.jsonl``. The same command goes on with what was interrupted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from resident import Resident, draw

import jobs.run.job as job
from jobs.run.prepare import answer_settings
from jobs.run.resources import Resources
from jobs.settings import RunSettings
from pipeline.catalog import Catalog
from pipeline.output.compact import compact
from pipeline.output.folder import Folder
from pipeline.output.held import Held
from pipeline.output.parts import part_id, part_name
from pipeline.output.schema import COMMITTED, PART
from pipeline.output.store import OutputStore
from pipeline.output.tables import write_table
from pipeline.pages.documents import catalog_documents
from pipeline.questions.file import parse_questions
from pipeline.records import Bundle, PageCount, Receipt
from pipeline.scratch import Scratch, portions

QUESTIONS = 20
FOLDERS_OF = 1000
SIZES = {"visual_tokens": 440, "kept_tokens": 65, "retention": 0.148, "kv_bytes_full": 2752512, "kv_bytes_kept": 448512}
SIGNALS = {"confidence_raw": 0.9, "logprob_mean": -0.1, "logprob_min": -0.2, "logprob_first": -0.1, "margin_min": 0.5}
ANSWER = {"status": "answered", "answer": "93.94", "finish_reason": "stop", "new_tokens": 5, "pruning": "glimpse"}
PAGE = {"width_pt": 595.0, "height_pt": 842.0, "dpi": 72.0, "width_px": 560, "height_px": 784, "visual_tokens": 440}


class Stub:
    """An engine that commits made-up rows."""

    name = "local"

    def __init__(self, output: str) -> None:
        self.folder = Folder(output)
        self.pages = 0
        self.seconds = 0.0

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def resources(self, run: RunSettings) -> Resources:
        return Resources(1, 0.0, 0.0, 1, 1, 0.0, 1 << 30)

    def receipts(self, bundles: Iterable[Bundle], config: Any, resources: Any, load: Any) -> Iterator[Receipt]:
        for bundle in bundles:
            began = time.perf_counter()
            write(self.folder, bundle, config.run_id)
            self.pages += len(bundle.documents)
            self.seconds += time.perf_counter() - began
            now = time.time()
            yield Receipt(bundle.bundle_id, len(bundle.documents), 1.0, 1.0, now, now)

    def pages_done(self) -> int:
        return self.pages


def write(folder: Folder, bundle: Bundle, run_id: str) -> None:
    paths = {document.document_id: document for document in bundle.documents}
    shared = {"bundle_id": bundle.bundle_id, "run_id": run_id, "answered_at": datetime.now(UTC)}

    def rows(table: str, ids: list[str], **more: Any) -> pa.Array:
        named = {
            "document_id": ids,
            "document": [paths[key].path for key in ids],
            "source": [paths[key].source for key in ids],
            "document_sha256": [f"{key:0>64}" for key in ids],
        }
        columns = []
        for field in COMMITTED[table]:
            value = {**named, **shared, **more}.get(field.name)
            given = isinstance(value, list) and len(value) == len(ids) and field.name != "review_reasons"
            columns.append(pa.array(value, field.type) if given else pa.repeat(pa.scalar(value, field.type), len(ids)))
        items = pa.StructArray.from_arrays(columns, fields=list(COMMITTED[table]))
        return pa.ListArray.from_arrays(pa.array([0, len(ids)], pa.int32()), items)

    units = bundle.units
    of_answers = {"unit_id": [unit.unit_id for unit in units], "question_id": [unit.question_id for unit in units]}
    pages = {"page": [1] * len(units), "pages": [[1]] * len(units), "review_reasons": []}
    answers = rows("answers", [unit.document_id for unit in units], **of_answers, **pages, **ANSWER, **SIZES, **SIGNALS)
    reports = rows("pages", list(paths), page=[1] * len(paths), **PAGE)
    table = pa.table([answers, reports, rows("failures", [])], schema=PART)
    footer = Held.by(units).to_footer()
    write_table(folder, part_name(part_id(bundle)), table, bundle_id=bundle.bundle_id, **footer)


def make_documents(inputs: Path, count: int, store: OutputStore) -> None:
    """Make empty files, and note that each has one page."""
    for number in range(count):
        folder = inputs / f"{number // FOLDERS_OF:06d}"
        if number % FOLDERS_OF == 0:
            folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:08d}.pdf").touch()
    with Scratch() as scratch:
        catalog = Catalog(scratch)
        catalog_documents(catalog, [str(inputs)])
        for documents in portions(catalog.documents(), 10_000):
            store.save_page_counts(PageCount(document.document_id, 1) for document in documents)


def timed(function: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            spent[function.__name__] = spent.get(function.__name__, 0.0) + time.perf_counter() - began

    return wrapped


def measure(count: int, out: Path, once: bool) -> None:
    inputs, output = out / "in", str(out / "answers")
    asked = "".join(f"  - {{id: q{number:02d}, text: 'What is value {number}?'}}\n" for number in range(QUESTIONS))
    questions = parse_questions(f"version: 1\nquestions:\n{asked}", "q.yaml")
    settings = RunSettings(input=(str(inputs),), questions="q.yaml", output=output, device="cpu", quiet=True)
    answer_settings(settings.choice, 0)  # imports what every run does
    if not (out / "made").exists():
        make_documents(inputs, count, OutputStore(Folder(output)))
        (out / "made").touch()
    stub = Stub(output)
    memory = Resident(out / "memory.jsonl", stub.pages_done, seconds=2.0)
    job.choose_engine = lambda *_: (stub, "a stub")  # type: ignore[assignment]
    spent: dict[str, float] = {}
    for name in ("publish", "prepare_work"):
        setattr(job, name, timed(getattr(job, name), spent))

    def step(name: str, do: Callable[[], Any]) -> None:
        memory.begin(name)
        began, cpu = time.perf_counter(), time.process_time()
        spent.clear()
        before, found = stub.seconds, do()
        wall, committing = time.perf_counter() - began, stub.seconds - before
        line: dict[str, Any] = {"documents": count, "step": name, "seconds": round(wall, 1)}
        line["cpu_seconds"] = round(time.process_time() - cpu, 1)
        line["ms_per_document"] = round(wall / count * 1e3, 3)
        line |= {part: round(seconds, 1) for part, seconds in spent.items()}
        line |= {"stub": round(committing, 1), "peak_rss_mb": round(memory.peak_mb())}
        if isinstance(found, dict):
            line["rows"] = found["counts"]["answered"]
        print(json.dumps(line), flush=True)
        with (out / "steps.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    step("run", lambda: job.run_job(settings, questions))
    if once:
        return
    step("nothing new", lambda: job.run_job(settings, questions))
    step("compact", lambda: compact(Folder(output)))
    step("nothing new, compacted", lambda: job.run_job(settings, questions))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--once", action="store_true", help="end after the run")
    parser.add_argument("--draw", action="store_true", help="draw what was noted, and do nothing else")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.draw:
        measure(given.documents, given.out, given.once)
    draw(given.out / "memory.jsonl", given.out / "memory.svg")


if __name__ == "__main__":
    main()
