"""Where the time of a page goes: by stage as docpipe measures it, and by operator as torch's profiler sees it.

    python benchmarks/profile_page.py [--shape 7b] [--tokens 5000] [--questions 10] [--new-tokens 32] [--trace FILE]

Weights are random, 4 % of the visual tokens are kept. ``--trace`` writes a trace for https://ui.perfetto.dev.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from contenders import Work, make_work
from random_model import SHAPES, make_model, pick_device
from torch.profiler import ProfilerActivity, profile

import glimpseprune as gp
from glimpseprune.model import GlimpseModel


def answer(model: GlimpseModel, work: Work) -> list[gp.PruneStats]:
    page = gp.encode_page(model, work.prefix, work.pixels, work.grid)
    return [one.stats for one in page.ask(work.tails, work.masks, work.new_tokens)]


def stages(stats: list[gp.PruneStats]) -> str:
    spent = {
        "vision tower": stats[0].vision_ms or 0.0,
        "prefix, layers 0..K": stats[0].prefix_ms or 0.0,
        "questions: glimpse, predictor, layers K+1..": sum(one.prefill_ms for one in stats),
        "decoding": sum(one.decode_ms or 0.0 for one in stats),
    }
    total = sum(spent.values())
    lines = ["| stage | ms | share |", "|" + " --- |" * 3]
    lines += [f"| {name} | {ms:.1f} | {ms / total:.1%} |" for name, ms in spent.items()]
    return "\n".join([*lines, f"| all | {total:.1f} | {len(stats) / total * 1e3:.2f} questions/s |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokens", type=int, default=5000)
    parser.add_argument("--questions", type=int, default=10)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--rows", type=int, default=20, help="operators to show")
    parser.add_argument("--trace", type=Path)
    args = parser.parse_args()
    device, dtype = pick_device()
    cuda = device.type == "cuda"
    model = make_model(SHAPES[args.shape], device, dtype)
    work = make_work(args.tokens, args.questions, 0.04, args.new_tokens, device, dtype)
    answer(model, work)  # kernels are chosen and memory is taken the first time
    print(stages(answer(model, work)), "\n")
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda) as profiled:
        answer(model, work)
    by = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    print(profiled.key_averages().table(sort_by=by, row_limit=args.rows, max_name_column_width=60))
    if args.trace is not None:
        profiled.export_chrome_trace(str(args.trace))


if __name__ == "__main__":
    main()
