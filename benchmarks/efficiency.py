"""The published efficiency table remade: one question at a time, unpruned and pruned, beside the published figures.

    python benchmarks/efficiency.py [--shape 7b] [--tokens 5040] [--rounds 20] [--new-tokens 32] [--device auto]

Weights are random and the share of tokens kept is forced to the published 4 %. Medians over rounds in which both take
turns. The published figures are for an A100 and 100 pages of DocVQA (arXiv 2508.01548); what can be compared on another
machine is the last column. The time of the vision tower is in neither.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, replace
from functools import partial

import torch
from contenders import Work, make_work
from meters import count_tflops, peak_bytes, reset_peak
from random_model import SHAPES, make_model, pick_device

import glimpseprune as gp
from glimpseprune.model import GlimpseModel

KEPT = 0.04
PUBLISHED = {
    "prefill TFLOPs": (77.8, 53.8),
    "prefill ms": (423.0, 307.0),
    "KV length": (5073.9, 202.5),
    "decode ms/token": (29.5, 28.3),
    "peak memory GB": (33.5, 24.4),
}


@dataclass
class Side:
    """Figures of one of the two, one entry a round."""

    prefill_ms: list[float]
    decode_ms: list[float]
    peak_bytes: int = 0
    tflops: float = 0.0
    kv_tokens: int = 0


def answer(model: GlimpseModel, work: Work, pruned: bool) -> gp.PruneStats:
    rule = work.masks[0] if pruned else None
    return gp.generate(model, work.inputs([0]), rule=rule, max_new_tokens=work.new_tokens).stats[0]


def measure(model: GlimpseModel, work: Work, rounds: int, device: torch.device) -> tuple[Side, Side]:
    sides = (Side([], []), Side([], []))
    tower = count_tflops(lambda: model.backbone.encode(work.pixels, work.grid, ()))
    short = replace(work, new_tokens=1)
    for pruned, side in enumerate(sides):
        reset_peak(device)
        side.tflops = count_tflops(partial(answer, model, short, bool(pruned))) - tower
        side.peak_bytes = peak_bytes(device)
    for _ in range(rounds):
        for pruned, side in enumerate(sides):
            stats = answer(model, work, bool(pruned))
            side.kv_tokens = stats.kv_tokens_kept
            side.prefill_ms.append(stats.prefill_ms)
            side.decode_ms.append((stats.decode_ms or 0.0) / (work.new_tokens - 1))
    return sides


def table(sides: tuple[Side, Side]) -> str:
    ours = {
        "prefill TFLOPs": [side.tflops for side in sides],
        "prefill ms": [statistics.median(side.prefill_ms) for side in sides],
        "KV length": [float(side.kv_tokens) for side in sides],
        "decode ms/token": [statistics.median(side.decode_ms) for side in sides],
        "peak memory GB": [side.peak_bytes / 1e9 for side in sides],
    }
    lines = [
        "| | published: unpruned | pruned | share | here: unpruned | pruned | share |",
        "|" + " --- |" * 7,
    ]
    for name, (whole, pruned) in PUBLISHED.items():
        mine, my_pruned = ours[name]
        lines.append(
            f"| {name} | {whole:g} | {pruned:g} | {pruned / whole:.1%} | {mine:.4g} | {my_pruned:.4g} | "
            f"{my_pruned / mine:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7b")
    parser.add_argument("--tokens", type=int, default=5040)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device, dtype = pick_device(args.device)
    model = make_model(SHAPES[args.shape], device, dtype)
    work = make_work(args.tokens, 1, KEPT, args.new_tokens, device, dtype)
    print(table(measure(model, work, args.rounds, device)))


if __name__ == "__main__":
    main()
