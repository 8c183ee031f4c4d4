"""docpipe as a contender: the loaded model answers pages as it does inside a run.

    python docpipe_side.py FOLDER PRUNE [--drop-blank] [--dtype auto] [--threads N]

PRUNE is ``glimpse``, ``off`` or ``auto``. Rendering, evidence and Parquet are left out, as they are for the peers.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import turns

from glimpseprune.cost.rates import measure_rates
from glimpseprune.rule import KeepRule
from pipeline.answering.checkpoints import addon_rule, resolve_addon
from pipeline.answering.look_ahead import look_ahead
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.tuning import measured_dtype
from pipeline.records import Ask


def main() -> None:
    pipe = turns.quiet_output()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("prune", choices=["glimpse", "off", "auto"])
    parser.add_argument("--drop-blank", action="store_true")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    work = turns.read_work(args.folder)
    start = time.perf_counter()
    dtype = measured_dtype().dtype if args.dtype == "auto" else args.dtype
    answerer, packed = load(work, args.prune, dtype, args.threads)
    answerer.drop_blank = args.drop_blank
    loaded = time.perf_counter() - start
    ask = rounds(answerer, work, args.folder, args.prune)
    ask(-1)
    ready = {"load_s": loaded, "dtype": dtype, "packed": packed, "lanes": answerer.lanes}
    turns.serve(pipe, ready, lambda number: [answer.text for answer in ask(number)])


def load(work: dict[str, Any], prune: str, dtype: str, threads: int) -> tuple[PageAnswerer, bool]:
    """Load the model and set it up as a run does; also tells whether its weights are packed."""
    torch.set_num_threads(threads)
    answerer = PageAnswerer.load(work["model"], None if prune == "off" else work["glimpse"], "cpu", dtype, "auto", 0)
    packed = answerer.model.pack()
    lanes = answerer.divide(threads, max(page["visual_tokens"] for page in work["pages"]))
    if prune == "auto":
        torch.set_num_threads(threads // lanes)
        answerer.rates = measure_rates(answerer.model)
    return answerer, packed


def rounds(
    answerer: PageAnswerer, work: dict[str, Any], folder: Path, prune: str
) -> Callable[[int], list[ModelAnswer]]:
    """Return a function that has docpipe answer the whole work; the number of the round makes no difference."""
    rule: KeepRule | None = None
    if prune != "off":
        rule = addon_rule(resolve_addon(work["glimpse"])) if work["keep"] is None else KeepRule(0.0, work["keep"])
    images = [np.load(folder / page["pixels"]) for page in work["pages"]]
    limit, automatic = work["max_new_tokens"], prune == "auto"
    asked = [
        [Ask(str(i), text, "text", limit, rule, automatic) for i, text in enumerate(page["texts"])]
        for page in work["pages"]
    ]

    def one_round(number: int) -> list[ModelAnswer]:
        pages = look_ahead(range(len(images)), lambda i: answerer.prepare(images[i], asked[i]))
        found = dict(answerer.answer_pages((i, page.result) for i, page in enumerate(pages)))
        answers = []
        for i in range(len(images)):
            page = found[i]
            if isinstance(page, Exception):
                raise page
            answers += page
        return answers

    return one_round


if __name__ == "__main__":
    main()
