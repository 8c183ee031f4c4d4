"""OCR and the nearest-label rule beside nano, on the same drawn pages and questions: right answers and CPU time.

    python benchmarks/ocr.py --out DIR [--pages 8] [--seed 61001]

`docpipe eval --compare off,glimpse,ocr` gives the answers alike, and pages per second of wall time. Here each side has
one thread, and its CPU time is told, which other programs on the machine change less. Rendering is not counted, nor is
loading; the first page of each family warms up and counts for the answers only.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import torch

from jobs.model_choice import ModelChoice
from jobs.run.prepare import answer_settings
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.datasets.example import by_page
from pipeline.datasets.load import load_examples
from pipeline.datasets.page_images import PageImages
from pipeline.evaluation.evaluate import Measured, measure_page
from pipeline.evaluation.modes import Mode
from pipeline.evaluation.ocr_rival import measure_ocr
from pipeline.evaluation.score_table import decimal, scores
from pipeline.pages.ocr import OcrReader
from pipeline.pages.renderer import RenderChild
from pipeline.samples.families import FAMILIES
from pipeline.samples.write import pick_seeds, write_samples

MODES: tuple[Mode, ...] = ("off", "glimpse", "ocr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pages", type=int, default=8, help="of each family")
    parser.add_argument("--seed", type=int, default=61001)
    given = parser.parse_args()
    torch.set_num_threads(1)
    choice = ModelChoice(dtype="float32", device="cpu")
    settings, reader = answer_settings(choice, 0), OcrReader(threads=1)
    answerer = PageAnswerer.load(choice.model, settings.glimpse, "cpu", "float32", "auto", 0)
    answerer.drop_blank, answerer.look_again = settings.drop_blank, settings.look_again
    print("| family | mode | questions | exact | ANLS | `n/a` right | points at box | IoU | CPU s per page |")
    print(f"|{' --- |' * 9}")
    for family in ("known", "open", "labels"):
        folder = given.out / family
        if not folder.exists():
            write_samples(folder, pick_seeds(given.seed, given.pages), FAMILIES[family])
        rows: list[Measured] = []
        seconds: dict[Mode, list[float]] = defaultdict(list)
        with RenderChild() as child:
            images = PageImages(child, settings.dpi, settings.budget)
            for number, examples in enumerate(by_page(load_examples(folder))):
                page = images.rendered(examples[0])
                for mode in MODES:
                    began = time.process_time()
                    if mode == "ocr":
                        rows += measure_ocr(reader, page, examples)
                    else:
                        rows += measure_page(answerer, page, examples, (mode,), settings.rule, number)
                    seconds[mode] += [time.process_time() - began] if number else []
        for score in scores(rows):
            shares = map(decimal, (score.exact, score.anls, score.absent_exact, score.pointed, score.iou))
            cells = [family, score.mode, str(score.questions), *shares]
            print(f"| {' | '.join(cells)} | {fmean(seconds[score.mode]):.2f} |", flush=True)


if __name__ == "__main__":
    main()
