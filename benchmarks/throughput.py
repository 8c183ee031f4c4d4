"""Questions a second on identical pages and questions: transformers as users write it, and docpipe.

    python benchmarks/throughput.py --out DIR [--shape small|3b|7b] [--tokens 1000 5000] [--questions 1 4 10 30]
                                    [--contenders docpipe unpruned ...] [--rounds 5] [--device auto] [--keep 0.04]
                                    [--new-tokens 16] [--pages 2]

Weights are random, so the share of tokens kept is forced, with the same random masks for every contender that prunes,
and every answer has exactly ``--new-tokens`` tokens. First rounds with one new token give FLOPs (torch's counter), the
peak memory above the weights and the time to the first token; in the rounds after them the contenders take turns;
figures are medians over rounds, and ratios are taken within one run. Writes DIR/throughput.json and DIR/throughput.md.

Contenders:
    generate        transformers, ``generate`` once a question; of many questions the first two are timed
    batched         transformers, ``generate`` with all questions of the page as one padded batch; timed once
    reused prefix   transformers' modules with the image prefix in a cache that every question continues from
    glimpse         docpipe, one question at a time; of many questions the first two are timed
    unpruned           docpipe without pruning: every visual token behind a shared prefix, questions together
    docpipe         shared prefix, questions together, pruned; those of ``--pages`` pages decode in one pool
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from contenders import CONTENDERS, Work, make_work
from meters import count_tflops, peak_bytes, reset_peak
from random_model import SHAPES, make_model, pick_device
from tqdm import tqdm

import glimpseprune as gp
from glimpseprune.model import GlimpseModel
from glimpseprune.stats import now_ms


@dataclass
class Row:
    """Figures of one contender; times and FLOPs are for one question, FLOPs up to the first token of its answer."""

    contender: str
    visual_tokens: int
    questions: int
    questions_per_s: float
    ratio_to_generate: float | None
    ratio_to_reused_prefix: float | None
    first_token_ms: float
    decode_ms: float
    peak_bytes_above_weights: int
    kv_bytes: int
    language_tflops: float
    vision_tflops: float


@dataclass
class First:
    """What the first round finds out about a contender."""

    ms: float
    peak_bytes: int
    tflops: float


def measure(
    model: GlimpseModel, work: Work, contenders: Sequence[str], rounds: int, device: torch.device, largest_batch: int
) -> list[Row]:
    names = [name for name in contenders if name != "batched" or len(work.prompts) <= largest_batch]
    vision = count_tflops(lambda: model.backbone.encode(work.pixels, work.grid, ()))
    first: dict[str, First] = {}
    seconds: dict[str, list[float]] = {name: [] for name in names}  # of a question
    with tqdm(total=(rounds + 1) * len(names), unit="turn", leave=False) as turns:
        for name in names:
            turns.set_description(f"{len(work.prompts)} questions, first token, {name}")
            first[name] = first_round(CONTENDERS[name], model, replace(work, new_tokens=1), device)
            turns.update()
        for number in range(rounds):
            for name in names:
                turns.set_description(f"{len(work.prompts)} questions, round {number + 1}, {name}")
                if name != "batched" or number == 0:
                    seconds[name].append(_seconds(CONTENDERS[name], model, work, device))
                turns.update()
    page = gp.encode_page(model, work.prefix, work.pixels, work.grid)
    kept = page.ask(work.tails[:1], work.masks[:1], 1)[0].stats
    rows = []
    for name in names:
        pruned = name in ("glimpse", "docpipe")
        # A contender that runs the tower once a page has that much less of it a question.
        tower = vision / (len(work.prompts) if name in ("reused prefix", "unpruned", "docpipe") else 1)
        rows.append(
            Row(
                contender=name,
                visual_tokens=work.masks[0].numel(),
                questions=len(work.prompts),
                questions_per_s=1 / statistics.median(seconds[name]),
                ratio_to_generate=_ratio(seconds.get("generate"), seconds[name]),
                ratio_to_reused_prefix=_ratio(seconds.get("reused prefix"), seconds[name]),
                first_token_ms=first[name].ms,
                decode_ms=statistics.median(seconds[name]) * 1e3 - first[name].ms,
                peak_bytes_above_weights=first[name].peak_bytes,
                kv_bytes=kept.kv_bytes_kept if pruned else kept.kv_bytes_full,
                language_tflops=first[name].tflops - tower,
                vision_tflops=tower,
            )
        )
    return rows


def first_round(
    contender: Callable[[GlimpseModel, Work], int], model: GlimpseModel, work: Work, device: torch.device
) -> First:
    """One new token a question: FLOPs and memory with the counter on, then the time with it off."""
    answered = 0

    def run() -> None:
        nonlocal answered
        answered = contender(model, work)

    before = reset_peak(device)
    tflops = count_tflops(run)
    peak = peak_bytes(device) - before
    return First(_seconds(contender, model, work, device) * 1e3, peak, tflops / answered)


def _seconds(
    contender: Callable[[GlimpseModel, Work], int], model: GlimpseModel, work: Work, device: torch.device
) -> float:
    """Wall time of one question."""
    start = now_ms(device)
    answered = contender(model, work)
    return (now_ms(device) - start) / 1e3 / answered


def _ratio(theirs: Sequence[float] | None, ours: Sequence[float]) -> float | None:
    """Median over rounds of their time over our time in the same round; ``None`` where they were not timed."""
    if theirs is None:
        return None
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=False))


def _two_places(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def markdown(rows: Sequence[Row]) -> str:
    lines = [
        "| visual tokens | questions | contender | questions/s | x generate | x prefix | first token ms | decode ms | "
        "LM TFLOPs | vision TFLOPs | peak MB | KV MB |",
        "|" + " --- |" * 12,
    ]
    for row in rows:
        lines.append(
            f"| {row.visual_tokens} | {row.questions} | {row.contender} | {row.questions_per_s:.3f} | "
            f"{_two_places(row.ratio_to_generate)} | {_two_places(row.ratio_to_reused_prefix)} | "
            f"{row.first_token_ms:.0f} | "
            f"{row.decode_ms:.0f} | {row.language_tflops:.3f} | {row.vision_tflops:.3f} | "
            f"{row.peak_bytes_above_weights / 1e6:.0f} | {row.kv_bytes / 1e6:.2f} |"
        )
    return "\n".join(lines)


def write(args: argparse.Namespace, rows: Sequence[Row]) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(args).items()}
    (args.out / "throughput.json").write_text(
        json.dumps({"settings": settings, "rows": [asdict(r) for r in rows]}, indent=1)
    )
    (args.out / "throughput.md").write_text(markdown(rows) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "throughput")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--questions", type=int, nargs="+", default=[1, 4, 10, 30])
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", type=float, default=0.04)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--pages", type=int, default=2, help="whose questions the docpipe contender decodes together")
    parser.add_argument("--largest-batch", type=int, default=10, help="questions the batched contender is run with")
    args = parser.parse_args()
    device, dtype = pick_device(args.device)
    model = make_model(SHAPES[args.shape], device, dtype)
    rows: list[Row] = []
    for tokens in args.tokens:
        for questions in args.questions:
            work = make_work(tokens, questions, args.keep, args.new_tokens, device, dtype, args.pages)
            found = measure(model, work, args.contenders, args.rounds, device, args.largest_batch)
            print(markdown(found), flush=True)
            rows += found
            write(args, rows)


if __name__ == "__main__":
    main()
