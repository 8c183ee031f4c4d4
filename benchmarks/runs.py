"""What sharing and pooling are worth to a whole `docpipe run`, and how a run grows with pages and actors.

    python benchmarks/runs.py --out DIR [--model nano] [--pages 100] [--questions 10] [--rounds 1]

The same documents and questions are run, in turns, as docpipe does it; with every question by itself (vision tower,
prefill and decoding once a question); with twice the pages; and with two actors on the same cores. Times are from the
first bundle begun to the last one committed; beside them is the whole command, Ray's start included. Writes
DIR/runs.json and DIR/runs.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.run.job import run_job
from jobs.run.ray_workers import ActorConfig, load_answerer
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.open_page import ModelAnswer, PreparedPage
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.questions.file import load_questions
from pipeline.records import Ask, Image
from pipeline.samples.write import pick_seeds, read_truth, write_samples

KEYS = (
    *("total", "date", "customer", "invoice_no", "city"),
    *("vendor", "phone", "order_id", "tax", "due_date", "zip", "contact", "weight", "ref", "qty"),
)


class OneByOne:
    """A page_answerer without sharing and pooling: every question of a page as if it were the only one."""

    def __init__(self, page_answerer: PageAnswerer) -> None:
        self.page_answerer = page_answerer
        self.skipping = None

    @property
    def model_ms(self) -> float:
        return self.page_answerer.model_ms

    def prepare(self, page: Image, asks: Iterable[Ask], *_: object) -> list[PreparedPage]:
        return [self.page_answerer.prepare(page, [ask]) for ask in asks]

    def answer_pages(
        self, pages: Iterable[tuple[Any, Callable[[], list[PreparedPage]]]]
    ) -> Iterator[tuple[Any, list[ModelAnswer]]]:
        for key, prepared in pages:
            answers: list[Any] = []
            for one in prepared():
                ((_, found),) = self.page_answerer.answer_pages([(key, lambda one=one: one)])
                answers += found
            yield key, answers


def load_one_by_one(config: ActorConfig) -> BundleAnswerer:
    answerer = load_answerer(config)
    answerer.page_answerer = OneByOne(answerer.page_answerer)
    return answerer


@dataclass(frozen=True)
class Variant:
    name: str
    documents: int
    actors: int = 1
    load: Callable[[ActorConfig], BundleAnswerer] = load_answerer


def run(variant: Variant, data: Path, out: Path, args: argparse.Namespace) -> dict[str, Any]:
    shutil.rmtree(out, ignore_errors=True)
    settings = RunSettings(
        input=(str(data / "pdfs"),),
        questions=str(data / "questions.yaml"),
        output=str(out),
        model=args.model,
        glimpse=args.glimpse,
        actors=variant.actors,
        quiet=True,
    )
    report = run_job(settings, load_questions(settings.questions), load=variant.load)
    here = report["this_run"]
    answers = pq.read_table(out / "answers").to_pylist()
    truth = read_truth(data)
    return {
        "variant": variant.name,
        "pages": here["pages"],
        "rows": here["rows"],
        "answering_s": here["answering_s"],
        "command_s": report["wall_s"],
        "model_busy_share": here["model_busy_share"],
        "actor_peak_rss_bytes": pc.max(pq.read_table(out / "pages")["peak_rss_bytes"]).as_py(),
        "right": sum(row["answer"] == truth[row["document"]][row["question_id"]] for row in answers) / len(answers),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| run | pages | rows | answering s | rows/s | x one by one | command s | model busy | actor peak MB | right |",
        "|" + " --- |" * 10,
    ]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["variant"], []).append(row)

    def median(name: str, figure: str) -> float:
        return statistics.median(row[figure] for row in by_name[name])

    def speed(name: str) -> float:
        return median(name, "rows") / median(name, "answering_s")

    for name in by_name:
        lines.append(
            f"| {name} | {median(name, 'pages'):.0f} | {median(name, 'rows'):.0f} | "
            f"{median(name, 'answering_s'):.1f} | {speed(name):.1f} | {speed(name) / speed('one by one'):.2f} | "
            f"{median(name, 'command_s'):.1f} | "
            f"{median(name, 'model_busy_share'):.1%} | {median(name, 'actor_peak_rss_bytes') / 1e6:.0f} | "
            f"{median(name, 'right'):.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--glimpse")
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--questions", type=int, default=10, help=f"up to {len(KEYS)}")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    variants = [
        Variant("one by one", args.pages, load=load_one_by_one),
        Variant("docpipe", args.pages),
        Variant("docpipe, twice the pages", 2 * args.pages),
        Variant("docpipe, two actors", args.pages, actors=2),
    ]
    for count in (args.pages, 2 * args.pages):
        if not (args.out / str(count)).exists():
            write_samples(args.out / str(count), pick_seeds(31, count), keys=KEYS[: args.questions])
    rows: list[dict[str, Any]] = []
    for _ in range(args.rounds):
        for variant in variants:
            rows.append(run(variant, args.out / str(variant.documents), args.out / "answers", args))
            print(json.dumps(rows[-1]), flush=True)
    (args.out / "runs.json").write_text(json.dumps(rows, indent=1))
    (args.out / "runs.md").write_text(markdown(rows) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
