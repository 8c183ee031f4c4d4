"""Does evidence lie where the answer is printed, and does `on_page` find answers that are not on the page?

    python benchmarks/evidence.py [--documents 100] [--seed 4100] [--ocr]

Documents of every family are drawn and answered by nano, as PDFs with their text layer and as pictures without one. Of
the family that nano reads, its right answers count; of the others the true answers do, with nano's scores. Then answers
are planted that are not on the page: the value of the same field of another document, another name of the same kind,
and the true value with one digit changed. With --ocr, OCR reads the pictures too, and answers are planted there as
well.

Pointing: the middle of the first box lies in the box of the value. IoU: all boxes together against that box.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pymupdf

from jobs.model_choice import ModelChoice
from jobs.run.prepare import answer_settings
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.page_evidence import PageEvidence
from pipeline.evaluation.metrics import exact_match
from pipeline.pages.ocr import ocr_reader
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import AnswerSettings, Ask, Document, Evidence, PageImage
from pipeline.samples import QuestionTruth, Sample, ask, make_sample
from pipeline.samples.families import FAMILIES
from pipeline.samples.text import Box
from pipeline.samples.write import pick_seeds

READ = ("known",)  # families that nano was taught
DRAWN = ("known", "open", "labels", "looks")
NAMES = ("customer", "vendor", "contact", "city")
STEP_PT = 0.25
Kind = Literal["other value", "other name", "one digit"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A question on a page with its true answer, and what nano said."""

    family: str
    sample: Sample
    question: QuestionTruth
    ask: Ask
    page: PageEvidence
    answer: ModelAnswer

    @property
    def right(self) -> bool:
        return self.family not in READ or exact_match(self.answer.text, [self.question.answer])

    def said(self, text: str) -> ModelAnswer:
        return dataclasses.replace(self.answer, text=text)


def cases(
    answerer: PageAnswerer,
    child: RenderChild,
    settings: AnswerSettings,
    family: str,
    sample: Sample,
    path: Path,
    ocr: bool,
) -> Iterator[Case]:
    document = Document(str(path), path.name, str(path), 0, "")
    (image,) = child.render(document, [1], settings.dpi, settings.budget)
    assert isinstance(image, PageImage), image
    if ocr:
        image = dataclasses.replace(image, words=ocr_reader().words(image))
    questions = [question for question in ask(sample, sample.seed, 0) if question.box is not None]
    asks = [Ask(question.key, question.text, "text", 24, settings.rule) for question in questions]
    page = PageEvidence(image)
    for question, one, answer in zip(questions, asks, answerer.answer_page(decode_image(image), asks), strict=True):
        yield Case(family, sample, question, one, page, answer)


def iou(boxes: Sequence[Evidence], truth: Box) -> float:
    """Intersection over union of all boxes together and the true one, on a fine grid."""
    every = [*boxes, truth]
    left, top = min(box.x0 for box in every), min(box.y0 for box in every)
    right, bottom = max(box.x1 for box in every), max(box.y1 for box in every)
    xs, ys = np.arange(left, right, STEP_PT), np.arange(top, bottom, STEP_PT)

    def inside(box: Evidence | Box) -> np.ndarray:
        return np.outer((ys >= box.y0) & (ys < box.y1), (xs >= box.x0) & (xs < box.x1))

    mine, true = np.logical_or.reduce([inside(box) for box in boxes]), inside(truth)
    return float((mine & true).sum() / (mine | true).sum())


def points_at(boxes: Sequence[Evidence], truth: Box) -> bool:
    x, y = (boxes[0].x0 + boxes[0].x1) / 2, (boxes[0].y0 + boxes[0].y1) / 2
    return truth.x0 <= x <= truth.x1 and truth.y0 <= y <= truth.y1


def planted(case: Case, others: Sequence[Case], rng: random.Random) -> Iterator[tuple[Kind, str]]:
    """Answers that are not on the page of a case."""
    kinds: list[tuple[Kind, str]] = []
    same = [other.question.answer for other in others if other.question.key == case.question.key]
    if same:
        kinds.append(("other value", rng.choice(same)))
    names = [other.question.answer for other in others if other.question.key in NAMES]
    if case.question.key in NAMES and names:
        kinds.append(("other name", rng.choice(names)))
    digits = [match.start() for match in re.finditer(r"\d", case.question.answer)]
    if digits:
        place = rng.choice(digits)
        digit = rng.choice([d for d in "0123456789" if d != case.question.answer[place]])
        kinds.append(("one digit", case.question.answer[:place] + digit + case.question.answer[place + 1 :]))
    for kind, text in kinds:
        if not printed(text, case.sample):
            yield kind, text


def printed(text: str, sample: Sample) -> bool:
    """Whether any words in a row have the same letters, digits and numbers; judged without the code under test."""
    sought = {_bare(text), _number(text)} - {""}
    for run in sample.runs:
        words = run.text.split()
        for first in range(len(words)):
            for last in range(first + 1, len(words) + 1):
                part = " ".join(words[first:last])
                if sought & {_bare(part), _number(part)}:
                    return True
    return False


def _bare(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _number(text: str) -> str:
    """A number without its signs, noughts and currency, if the text is one."""
    digits = re.sub(r"[^\d]", "", text)
    return digits.strip("0") if digits and len(re.findall(r"[^\W\d_]", text)) <= 3 else ""


def share(marks: Sequence[bool]) -> str:
    return f"{sum(marks) / len(marks):.3f}" if marks else "-"


def places(rows: Sequence[Case]) -> str:
    """Count, pointing, mean IoU and what on_page says of answers that are right."""
    found = [(case, case.page.of(case.ask, case.said(case.question.answer))) for case in rows]
    pointing = [bool(one.boxes) and points_at(one.boxes, case.question.box) for case, one in found]
    overlap = [iou(one.boxes, case.question.box) if one.boxes else 0.0 for case, one in found]
    said = [one.on_page for _, one in found]
    by_text = share([one.source == "text" for _, one in found])
    alarms = share([one is False for one in said])
    return f"{len(rows)} | {share(pointing)} | {np.mean(overlap):.3f} | {by_text} | {alarms}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100, help="of each family")
    parser.add_argument("--seed", type=int, default=4100)
    parser.add_argument("--ocr", action="store_true")
    args = parser.parse_args()
    settings = answer_settings(ModelChoice(), 0)
    answerer = PageAnswerer.load("nano", settings.glimpse, "cpu", "float32", "auto", 0)
    rows: dict[tuple[str, str], list[Case]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, RenderChild() as child:
        for family in DRAWN:
            for seed in pick_seeds(args.seed, args.documents):
                sample = make_sample(seed, FAMILIES[family])
                pdf, png = (Path(folder) / f"{family}-{seed}.{end}" for end in ("pdf", "png"))
                pdf.write_bytes(sample.pdf())
                with pymupdf.open(pdf) as document:
                    document[0].get_pixmap(dpi=settings.dpi).save(png)
                pictures = ["picture", *(["OCR"] if args.ocr else [])] if family in READ else []
                for layer in ("text", *pictures):
                    path = pdf if layer == "text" else png
                    rows[family, layer] += cases(answerer, child, settings, family, sample, path, layer == "OCR")
    print("| family | page | right answers | pointing | mean IoU | by text | false alarms |\n|" + " --- |" * 7)
    for (family, layer), mine in rows.items():
        print(f"| {family} | {layer} | {places([case for case in mine if case.right])} |")
    rng = random.Random(args.seed)
    print("\n| family | page | planted | answers | found | not told |\n|" + " --- |" * 6)
    for (family, layer), mine in rows.items():
        if layer == "picture":
            continue
        said: dict[str, list[bool | None]] = defaultdict(list)
        for case in mine:
            others = [other for other in mine if other.sample is not case.sample]
            for kind, text in planted(case, others, rng):
                on_page = case.page.of(case.ask, case.said(text)).on_page
                said[kind].append(on_page)
                if on_page:
                    print(f"{family}: {text!r} is not printed, {case.question.answer!r} is")
        for kind, found in said.items():
            missed = share([one is None for one in found])
            print(
                f"| {family} | {layer} | {kind} | {len(found)} | {share([one is False for one in found])} | {missed} |"
            )


if __name__ == "__main__":
    main()
