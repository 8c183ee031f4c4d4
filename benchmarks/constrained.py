"""Asks typed questions with and without the limits of their types, in turns, and counts what is malformed and slower.

    docpipe samples --out held_out --documents 300 --seed 978 --family known
    python benchmarks/constrained.py held_out [--answers 2000] [--random] [--limited] [--visual-tokens N]

Every question is asked for one type. Questions for a date, an amount or a number are asked for their own, and the rest
in turn for all types, so most of those are asked for something that is not there. ``--random`` gives the model random
weights: it then answers anything at all. An answer is malformed if it is not cut off, does not say that the page does
not say, and stands for no value in any of several locales; where it only stands for several, it is not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from typing import Any

import torch

import glimpseprune as gp
from pipeline.answering.checkpoints import addon_rule, default_addon, default_dpi, resolve_addon, resolve_model
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.verdict import judge
from pipeline.datasets.example import Example, by_page
from pipeline.datasets.load import load_examples
from pipeline.datasets.page_images import PageImages
from pipeline.evaluation.metrics import exact_match
from pipeline.families.registry import find_family
from pipeline.pages.renderer import RenderChild
from pipeline.questions.question import DEFAULT_PROMPT
from pipeline.questions.values import parse_value
from pipeline.records import Ask, Image
from pipeline.samples.open_values import KIND_OF_FIELD

CHOICES = ("paid", "open", "cancelled")
TYPES = ("integer", "number", "money", "date", "boolean", "choice", "list")
TYPE_OF_KIND = {"date": "date", "money": "money", "number": "integer", "percent": "number"}
LOCALES = (
    None,
    *(
        "en_US en_GB en_IN en_CA de_DE de_CH fr_FR fr_CA es_ES es_MX it_IT pt_BR nl_NL sv_SE da_DK nb_NO "
        "fi_FI is_IS hu_HU ro_RO tr_TR ru_RU uk_UA pl_PL cs_CZ sk_SK sl_SI hr_HR bg_BG el_GR lt_LT lv_LV "
        "et_EE ja_JP zh_CN ko_KR ar_EG he_IL hi_IN th_TH vi_VN id_ID ca_ES gl_ES fa_IR "
    ).split(),
)
CHUNK_PAGES = 4


class TimedPool(gp.DecodePool):
    """Counts the CPU time of decoding, which other programs on the machine change less than the time it takes."""

    cpu_s = 0.0

    def add(self, *given: Any) -> None:
        began = time.process_time()
        super().add(*given)
        TimedPool.cpu_s += time.process_time() - began

    def step(self) -> None:
        began = time.process_time()
        super().step()
        TimedPool.cpu_s += time.process_time() - began


@dataclass
class Side:
    """What one way of asking came to, by type."""

    answers: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    cut_off: Counter[str] = field(default_factory=Counter)
    fitting: Counter[str] = field(default_factory=Counter)
    exact: Counter[str] = field(default_factory=Counter)
    decode_ms: float = 0.0
    decode_cpu_s: list[float] = field(default_factory=list)  # of each chunk of pages
    cpu_s: float = 0.0
    tokens: int = 0
    samples: list[str] = field(default_factory=list)  # of malformed answers

    def add(self, ask: Ask, example: Example, fits: bool, answer: ModelAnswer) -> None:
        self.answers[ask.type] += 1
        verdict = judge(ask, answer)
        self.cut_off[ask.type] += "cut_off" in verdict.reasons
        if verdict.status != "not_answerable" and "cut_off" not in verdict.reasons:
            if not has_a_value(ask, answer.text):
                self.malformed[ask.type] += 1
                self.samples.append(f"{ask.type}: {answer.text}")
        if fits:
            self.fitting[ask.type] += 1
            self.exact[ask.type] += exact_match(answer.text, example.answers)
        self.decode_ms += answer.stats.decode_ms or 0.0
        self.tokens += answer.new_tokens


def has_a_value(ask: Ask, text: str) -> bool:
    read = (parse_value(text, ask.type, locale, ask.choices, ask.items) for locale in LOCALES)
    return any(one.value is not None or " may be " in (one.error or "") for one in read)


def typed(example: Example, turn: str, rule: object) -> tuple[Ask, bool]:
    """The question for a type, and whether it is the type of its answer."""
    kind = TYPE_OF_KIND.get(KIND_OF_FIELD.get(example.question_id, ""))
    named, prompt = kind or turn, DEFAULT_PROMPT.format(text=example.question)
    choices, items = (CHOICES if named == "choice" else ()), ("integer" if named == "list" else None)
    return Ask(example.question_id, prompt, named, 32, rule, False, choices, items), kind is not None  # type: ignore[arg-type]


def ask_all(
    answerer: PageAnswerer, side: Side, work: Sequence[tuple[Image, list[tuple[Ask, Ask, Example, bool]]]], free: bool
) -> None:
    pages = [
        (number, partial(answerer.prepare, image, [one[1] if free else one[0] for one in asked]))
        for number, (image, asked) in enumerate(work)
    ]
    before, decoding = time.process_time(), TimedPool.cpu_s
    for number, answers in answerer.answer_pages(pages):
        if not isinstance(answers, list):
            raise answers
        for (ask, _, example, fits), answer in zip(work[number][1], answers, strict=True):
            side.add(ask, example, fits, answer)
    side.cpu_s += time.process_time() - before
    side.decode_cpu_s.append(TimedPool.cpu_s - decoding)


def table(limited: Side, free: Side) -> str:
    lines = [
        "| type | answers | malformed: free | limited | cut off: free | limited | exact, of fitting: free | limited |",
        "|" + " --- |" * 8,
    ]
    for kind in (*TYPES, "all"):
        cells = []
        for counts in (limited.answers, free.malformed, limited.malformed, free.cut_off, limited.cut_off):
            cells.append(str(sum(counts.values()) if kind == "all" else counts[kind]))
        for side in (free, limited):
            fitting, exact = (sum(c.values()) if kind == "all" else c[kind] for c in (side.fitting, side.exact))
            cells.append(f"{exact / fitting:.3f}" if fitting else "-")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def told(name: str, side: Side) -> str:
    """What an answer of one side takes."""
    answers = sum(side.answers.values())
    return (
        f"{name}: {side.tokens / answers:.2f} tokens an answer; decode {side.decode_ms / answers:.3f} ms, "
        f"{sum(side.decode_cpu_s) / answers * 1e3:.3f} CPU ms; in all {side.cpu_s / answers * 1e3:.2f} CPU ms"
    )


def compared(limited: Side, free: Side) -> str:
    """What an answer with limits takes, as a share of what one without takes."""
    ratios = [one / other for one, other in zip(limited.decode_cpu_s, free.decode_cpu_s, strict=True)]
    return (
        f"limited / free: decode CPU {sum(limited.decode_cpu_s) / sum(free.decode_cpu_s):.3f}, median of {len(ratios)} "
        f"turns {statistics.median(ratios):.3f}; decode ms {limited.decode_ms / free.decode_ms:.3f}; "
        f"CPU in all {limited.cpu_s / free.cpu_s:.3f}"
    )


def randomize(answerer: PageAnswerer) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in answerer.model.base.parameters():
            if weights.ndim > 1:
                weights.normal_(std=weights[0].numel() ** -0.5)
        answerer.model.base.get_input_embeddings().weight.normal_()  # type: ignore[operator]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--limited", action="store_true", help="leave out the questions without limits")
    parser.add_argument("--visual-tokens", type=int)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    folder, addon = resolve_model(args.model, None), default_addon(args.model)
    torch.set_num_threads(1)  # CPU time of several counts their waiting for each other
    answerer = PageAnswerer.load(args.model, addon, args.device, "float32", "auto", 0)
    answerer.model.pack()
    model, memory = answerer.model, answerer.memory
    answerer._pool = lambda: TimedPool(  # type: ignore[method-assign]
        model.backbone, model.eos_token_ids, model.repetition_penalty, memory.ran_out
    )
    if args.random:
        randomize(answerer)
    rule = None if addon is None else addon_rule(resolve_addon(addon))
    turns, work, count = cycle(TYPES), [], 0
    with RenderChild() as child:
        images = PageImages(child, default_dpi(args.model), find_family(folder).read_budget(folder, args.visual_tokens))
        for examples in by_page(load_examples(args.data, None)):
            asked = [(*typed(example, next(turns), rule), example) for example in examples][: args.answers - count]
            rows = [(ask, replace(ask, type="text", choices=(), items=None), one, fits) for ask, fits, one in asked]
            work.append((images.of(examples[0]), rows))
            count += len(rows)
            if count >= args.answers:
                break
    limited, free, warm = Side(), Side(), Side()
    for is_free in (False, True):
        ask_all(answerer, warm, work[:CHUNK_PAGES], is_free)
    chunks = [work[start : start + CHUNK_PAGES] for start in range(0, len(work), CHUNK_PAGES)]
    for turn, chunk in enumerate(chunks):
        sides = [(limited, False), (free, True)][: 1 if args.limited else 2]
        for side, is_free in sides if turn % 2 else reversed(sides):
            ask_all(answerer, side, chunk, is_free)
    print(table(limited, free))
    print(*(told(name, side) for name, side in (("free", free), ("limited", limited)) if side.tokens), sep="\n")
    if not args.limited:
        print(compared(limited, free))
    if sum(limited.malformed.values()):
        sys.exit("\n".join(["malformed:", *limited.samples]))


if __name__ == "__main__":
    main()
