"""Every GPU figure of the documents, by one command: at the shape of the 7B model, with random weights.

    python benchmarks/gpu.py --out DIR [--parts decode efficiency ...] [--shape 7b] [--seconds 300]

Each part is a process of its own, which fails or runs out of time by itself. Needs torch, transformers, numpy and
safetensors, and an 80 GB card for 7b. Writes DIR/PART.json, and DIR/gpu.md and DIR/gpu.json with what all parts found.

Parts:
    decode      a step of decode, by rows and cached tokens: as on a CPU, fixed but launched, and repeated as a graph
    nano        the same of the embedded model in float32 and bfloat16, and pages a second
    efficiency  the published efficiency table
    throughput  questions a second of transformers and of docpipe, one question and ten on a page
    tower       the vision tower by the kernel of its attention
    stages      where the time of a page goes
    memory      peaks of prefill and decode beside those that docs/gpu.md works out
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import efficiency as efficiency_table
import throughput as contest
import torch
from card_memory import cache_bytes
from contenders import Work, make_work
from gpu_decode import decode_rows
from meters import count_tflops, peak_bytes, reset_peak
from random_model import SHAPES, make_model, pick_device

import glimpseprune as gp
from glimpseprune.families.qwen2_5_vl import Qwen25VL
from glimpseprune.families.tower_attention import choose_attention
from glimpseprune.model import GlimpseModel
from glimpseprune.stats import now_ms

TOKENS, QUESTIONS, NEW_TOKENS, KEPT = 5040, 10, 32, 0.04
VOCABULARIES = {"3b": (151_936, True), "7b": (152_064, False), "32b": (152_064, False)}  # rows; whether heads are tied
NANO = Path(__file__).parent.parent / "pipeline/nano"
Rows = list[dict[str, Any]]


def published(shape: str) -> tuple[GlimpseModel, torch.device, torch.dtype]:
    """A model with the vocabulary of the published one, whose head is part of each step."""
    device, dtype = pick_device()
    model = make_model(SHAPES[shape], device, dtype, *VOCABULARIES.get(shape, ()))
    torch.cuda.empty_cache()  # the weights were made in float32
    return model, device, dtype


def work_for(questions: int, device: torch.device, dtype: torch.dtype) -> Work:
    return make_work(TOKENS, questions, KEPT, NEW_TOKENS, device, dtype)


def decode(shape: str) -> Rows:
    model, _, _ = published(shape)
    kept = int(KEPT * TOKENS)
    return decode_rows(model, [(1, kept), (8, kept), (32, kept), (64, kept), (1, TOKENS), (8, TOKENS), (32, TOKENS)])


def nano(_: str) -> Rows:
    device, _ = pick_device()
    found: Rows = []
    for dtype in ("float32", "bfloat16"):
        model = gp.load(NANO / "base", NANO / "glimpse", device.type, dtype)
        steps = decode_rows(model, [(1, 100), (16, 100), (64, 100)])
        found += [{"dtype": dtype, "mode": "decode", **row} for row in steps]
        work = make_nano_work(model)
        for mode, masks in (("glimpse", work.masks), ("unpruned", [None] * len(work.masks))):
            ask = partial(answer_page, model, work, masks)
            ask()
            seconds = timed(ask, 20)
            found.append({"dtype": dtype, "mode": mode, "pages/s": 1 / statistics.median(seconds)})
    return found


def make_nano_work(model: GlimpseModel) -> Work:
    """Random pixels of a page of nano's, with six questions of random words."""
    base: Any = model.base
    backbone = model.backbone
    generator = torch.Generator().manual_seed(0)
    rows, columns = 22, 20
    config = base.config
    head = torch.randint(0, 200, (12,), generator=generator)
    image = torch.tensor([config.vision_start_token_id, *[config.image_token_id] * (rows * columns)])
    image = torch.cat([image, torch.tensor([config.vision_end_token_id])])
    prompts = [torch.cat([head, image, torch.randint(0, 200, (20,), generator=generator)]) for _ in range(6)]
    masks = [torch.rand(rows * columns, generator=generator) < 0.1 for _ in range(6)]
    vision = config.vision_config
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    pixels = torch.randn(4 * rows * columns, patch, generator=generator).to(backbone.device, backbone.dtype)
    on_device = [prompt.to(backbone.device) for prompt in prompts]
    return Work([pixels], (2 * rows, 2 * columns), on_device, [mask.to(backbone.device) for mask in masks], 16)


def answer_page(model: GlimpseModel, work: Work, masks: Sequence[Any]) -> list[gp.PruneStats]:
    end = int((work.prompts[0] == model.backbone.image_token_id).nonzero()[-1]) + 1
    page = gp.encode_page(model, work.prompts[0][:end], work.pixels, work.grid)
    answers = page.ask([prompt[end:] for prompt in work.prompts], list(masks), work.new_tokens)
    return [one.stats for one in answers]


def timed(run: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round."""
    device, _ = pick_device()
    found = []
    for _ in range(rounds):
        start = now_ms(device)
        run()
        found.append((now_ms(device) - start) / 1e3)
    return found


def efficiency(shape: str) -> Rows:
    model, device, dtype = published(shape)
    whole, pruned = efficiency_table.measure(model, work_for(1, device, dtype), 10, device)
    ours = {
        "prefill TFLOPs": (whole.tflops, pruned.tflops),
        "prefill ms": (statistics.median(whole.prefill_ms), statistics.median(pruned.prefill_ms)),
        "KV length": (whole.kv_tokens, pruned.kv_tokens),
        "decode ms/token": (statistics.median(whole.decode_ms), statistics.median(pruned.decode_ms)),
        "peak memory GB": (whole.peak_bytes / 1e9, pruned.peak_bytes / 1e9),
    }
    return [
        {
            "figure": name,
            "published: unpruned": published_whole,
            "published: pruned": published_pruned,
            "here: unpruned": ours[name][0],
            "here: pruned": ours[name][1],
            "here: share": ours[name][1] / ours[name][0],
        }
        for name, (published_whole, published_pruned) in efficiency_table.PUBLISHED.items()
    ]


def throughput(shape: str) -> Rows:
    model, device, dtype = published(shape)
    found: Rows = []
    for questions in (1, QUESTIONS):
        names = ["generate", "reused prefix", "unpruned", "docpipe"]
        work = make_work(TOKENS, questions, KEPT, NEW_TOKENS, device, dtype, pages=2)
        found += [asdict(row) for row in contest.measure(model, work, names, 3, device, 0)]
    return found


def tower(shape: str) -> Rows:
    model, device, dtype = published(shape)
    work = work_for(1, device, dtype)
    found: Rows = []
    for name in ("sdpa", "auto"):
        backbone = Qwen25VL(model.base, choose_attention(name, device, dtype))
        run = torch.inference_mode()(partial(backbone.encode, work.pixels, work.grid, ()))
        tflops = count_tflops(run)
        seconds = statistics.median(timed(run, 10))
        size = work.masks[0].numel()
        found.append(
            {"attention": backbone.attention.name, "visual tokens": size, "ms": seconds * 1e3, "TFLOPs": tflops}
        )
    return found


def stages(shape: str) -> Rows:
    model, device, dtype = published(shape)
    work = work_for(QUESTIONS, device, dtype)
    found: Rows = []
    for mode, masks in (("glimpse", work.masks), ("unpruned", [None] * QUESTIONS)):
        answer_page(model, work, masks)
        stats = answer_page(model, work, masks)
        spent = {
            "vision tower ms": stats[0].vision_ms or 0.0,
            "prefix ms": stats[0].prefix_ms or 0.0,
            "questions ms": sum(one.prefill_ms or 0.0 for one in stats),
            "decoding ms": sum(one.decode_ms or 0.0 for one in stats),
        }
        total = sum(spent.values())
        found.append({"mode": mode, "questions": QUESTIONS, **spent, "questions/s": QUESTIONS / total * 1e3})
    return found


def memory(shape: str) -> Rows:
    model, device, dtype = published(shape)
    sizes, weights = SHAPES[shape], reset_peak(device)
    found: Rows = [{"what": "weights, add-on included", "GB": weights / 1e9, "by arithmetic": None}]
    for tokens in (TOKENS, 16_384):
        work = make_work(tokens, 1, KEPT, 1, device, dtype)
        before = reset_peak(device)
        gp.generate(model, work.inputs([0]), None, 1)
        count = work.masks[0].numel()
        expected = cache_bytes(sizes, count) + count * (sizes.hidden + sizes.mlp) * 4 * 2
        row = {"what": f"a page of {count} tokens, unpruned", "GB": (peak_bytes(device) - before) / 1e9}
        found.append({**row, "by arithmetic": expected / 1e9})
    return found


PARTS = {one.__name__: one for one in (decode, nano, efficiency, throughput, tower, stages, memory)}


def table(rows: Rows) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(cell(row.get(name)) for name in names) + " |" for row in rows])


def cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def machine() -> dict[str, str]:
    """What the figures hold for."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    return {"card": card, "torch": torch.__version__, "transformers": importlib.metadata.version("transformers")}


def run_part(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run a part in a process of its own: its rows, or why there are none."""
    file = args.out / f"{name}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--out", str(args.out), "--shape", args.shape, "--part", name]
    start = time.monotonic()
    try:
        ended = subprocess.run(command, timeout=args.seconds, stderr=subprocess.PIPE, text=True)
        error = None if file.exists() else (ended.stderr.strip().splitlines() or ["no output"])[-1]
        sys.stderr.write(ended.stderr if error else "")
    except subprocess.TimeoutExpired:
        error = f"not done after {args.seconds} s"
    rows = [] if error else json.loads(file.read_text())
    return {"part": name, "seconds": time.monotonic() - start, "error": error, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--part", choices=PARTS, help="run one part in this process")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7b")
    parser.add_argument("--seconds", type=int, default=300, help="time limit of a part")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.part:
        (args.out / f"{args.part}.json").write_text(json.dumps(PARTS[args.part](args.shape), indent=1))
        return
    text, found = [", ".join(f"{name} {value}" for name, value in machine().items()) + f"; shape {args.shape}"], []
    for name in args.parts:
        found.append(run_part(name, args))
        done = found[-1]
        text.append(f"## {name}\n\n{done['error'] or table(done['rows'])}\n\n{done['seconds']:.0f} s")
        print(text[-1] + "\n", flush=True)
        (args.out / "gpu.md").write_text("\n\n".join(text) + "\n")
        (args.out / "gpu.json").write_text(json.dumps({**machine(), "shape": args.shape, "parts": found}, indent=1))
    if any(done["error"] for done in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
