"""What does `--skip-below` lose, and what does it save? Measured with nano on ten-page documents of one answer page.

    python benchmarks/skipping.py --out /tmp/skipping [--documents 60] [--seed 88001] [--below .02 .05] [--turns 1]

Draws documents of each family. A document is asked two questions whose fields stand on one and the same of its ten
pages and on no other. Each turn reads all of them without `--skip-below` and with each probability. Recall is the share
of documents whose answer page was skipped for neither question; times are medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pymupdf
import yaml

from jobs.run.job import run_job
from jobs.settings import RunSettings, load_asked
from pipeline.samples.document import FieldTruth, Sample, make_sample
from pipeline.samples.families import FAMILIES
from pipeline.samples.fields import FIELD_OF_KEY
from pipeline.samples.opened import overlap
from pipeline.samples.questions import absent_names, field_names

DRAWN = ("known", "open")
PAGES, ASKED = 10, 2
TABLE_HEADS = ("item", "qty")  # a table prints these names too
HEAD = ("family", "skip below", "recall", "decoded", "cut", "right", "of the right, kept", "s", "CPU s", "time saved")


def named(field: FieldTruth, sample: Sample) -> bool:
    """Tell whether a page holds an answer to a question for a field, or may be said to."""
    if field.key in FIELD_OF_KEY:
        return field.key not in {key for key, _ in absent_names(sample)}
    return any(overlap(field.label, other.label) for other in sample.fields)


def draw(rng: random.Random, family: str) -> tuple[list[Sample], int, list[FieldTruth]]:
    """Draw the pages of a document, the number of its answer page from 1, and the fields that are asked for."""
    while True:
        answer = make_sample(rng.randrange(10**8), FAMILIES[family])
        mine = [field for field in answer.fields if field.key not in TABLE_HEADS]
        if len(mine) < ASKED:
            continue
        asked = rng.sample(mine, ASKED)
        others: list[Sample] = []
        for _ in range(2_000):
            other = make_sample(rng.randrange(10**8), FAMILIES[family])
            if not any(named(field, other) for field in asked):
                others.append(other)
            if len(others) == PAGES - 1:
                place = rng.randrange(PAGES)
                return [*others[:place], answer, *others[place:]], place + 1, asked


def write(folder: Path, family: str, documents: int, seed: int) -> dict[str, tuple[int, str]]:
    """Write documents and questions; return answer page and answer by the id of each question."""
    rng = random.Random(f"{seed} {family}")
    (folder / "pdfs").mkdir(parents=True)
    truth: dict[str, tuple[int, str]] = {}
    entries = []
    for number in range(documents):
        pages, place, asked = draw(rng, family)
        name = f"{number:04d}.pdf"
        with pymupdf.open() as whole:
            for page in pages:
                with pymupdf.open(stream=page.pdf()) as one:
                    whole.insert_pdf(one)
            whole.save(folder / "pdfs" / name, garbage=3, deflate=True)
        for field in asked:
            question = f"d{number:04d}_{field.key}"
            truth[question] = place, field.value
            text = f"What is the {rng.choice(field_names(field))}?"
            entries.append({"id": question, "text": text, "documents": name})
    defaults = {"prompt": "{text}", "max_new_tokens": 24}
    content = {"version": 1, "defaults": defaults, "questions": entries}
    (folder / "questions.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (folder / "truth.json").write_text(json.dumps(truth))
    return truth


def run(folder: Path, below: float | None) -> tuple[Path, float, float]:
    """Read the documents into a fresh folder; return it, and wall and CPU seconds of answering and of this process."""
    out = folder / f"answers-{below}"
    shutil.rmtree(out, ignore_errors=True)
    settings = RunSettings(
        input=(str(folder / "pdfs"),),
        questions=str(folder / "questions.yaml"),
        output=str(out),
        engine="local",
        skip_below=below,
        quiet=True,
    )
    began = time.process_time()
    report = run_job(settings, load_asked(settings.questions, None))
    spent = time.process_time() - began
    assert report["exit_code"] == 0, report["error"]
    return out, report["this_run"]["answering_s"], spent


def figures(out: Path, truth: dict[str, tuple[int, str]]) -> dict[str, Any]:
    rows = pq.read_table(out / "answers", columns=["question_id", "page", "status"]).to_pylist()
    answers = pq.read_table(out / "documents", columns=["question_id", "answer"]).to_pylist()
    lost = {r["question_id"][:5] for r in rows if r["page"] == truth[r["question_id"]][0] and r["status"] == "skipped"}
    return {
        "lost": lost,
        "documents": len({name[:5] for name in truth}),
        "rows": len(rows),
        "decoded": sum(row["status"] != "skipped" for row in rows),
        "right": {row["question_id"] for row in answers if row["answer"] == truth[row["question_id"]][1]},
        "asked": len(truth),
    }


def line(family: str, below: float | None, found: dict[str, Any], whole: dict[str, Any], times: Sequence[Any]) -> str:
    wall, cpu, wall_whole = times
    kept = len(found["right"] & whole["right"]) / max(1, len(whole["right"]))
    cells = [
        f"`{family}`",
        "off" if below is None else f"{below:g}",
        f"{1 - len(found['lost']) / found['documents']:.3f}",
        f"{found['decoded']:,} of {found['rows']:,}",
        f"{1 - found['decoded'] / found['rows']:.1%}",
        f"{len(found['right']) / found['asked']:.3f}",
        f"{kept:.3f}",
        f"{wall:.1f}",
        f"{cpu:.1f}",
        f"{1 - wall / wall_whole:.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=60, help="of each family")
    parser.add_argument("--seed", type=int, default=88001)
    parser.add_argument("--below", type=float, nargs="+", default=[0.02, 0.05])
    parser.add_argument("--turns", type=int, default=1)
    given = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for family in DRAWN:
        folder = given.out / family
        truth = write(folder, family, given.documents, given.seed)
        taken: dict[float | None, list[tuple[float, float]]] = {below: [] for below in (None, *given.below)}
        outs: dict[float | None, Path] = {}
        for _ in range(given.turns):
            for below, times in taken.items():
                outs[below], wall, cpu = run(folder, below)
                times.append((wall, cpu))
        whole = figures(outs[None], truth)
        medians = {b: [statistics.median(part) for part in zip(*times, strict=True)] for b, times in taken.items()}
        for below, out in outs.items():
            times = (*medians[below], medians[None][0])
            print(line(family, below, figures(out, truth), whole, times), flush=True)


if __name__ == "__main__":
    main()
