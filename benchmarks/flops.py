"""FLOPs of a language model's prefill with and without pruning at a published shape, on the meta device.

    python benchmarks/flops.py [--shape 7b] [--tokens 5000] [--keep 0.04] [--questions 1 4 10 20 30]

No weights are made: for one question torch's counter follows the shapes through the layers and the predictor; several
are told by glimpseprune/cost.py, which tests hold to the counter. Prints a Markdown table. Published (arXiv 2508.01548,
7B, 100 pages of DocVQA): 77.8 TFLOPs unpruned, 53.8 with GlimpsePrune, 69.1 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from random_model import SHAPES, make_model
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from glimpseprune.cost.flops import DecoderShape, PageWork, pruned_operations, unpruned_operations
from glimpseprune.decode.cache import Continuation, PrefillCache
from glimpseprune.families.base import Backbone, run_layers
from glimpseprune.model import GlimpseModel
from glimpseprune.prefill.partial_layer import enter_layer, leave_layer, run_to_end

TEXT_BEFORE, TEXT_AFTER = 15, 25  # of a chat template with a short question


def count(run: Callable[[], Any]) -> int:
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def hidden(model: GlimpseModel, tokens: int) -> tuple[Tensor, Any]:
    backbone = model.backbone
    places = torch.zeros(3, tokens, dtype=torch.long, device="meta")
    states = torch.empty(1, tokens, backbone.shape.hidden_size, device="meta")
    return states, (places, backbone.rotary(places[:, None]))


def unpruned(model: GlimpseModel, tokens: int) -> None:
    backbone = model.backbone
    states, (_, rotary) = hidden(model, tokens)
    states = run_layers(backbone, range(backbone.num_layers), states, rotary, PrefillCache())
    backbone.logits(states[:, -1])


def pruned(model: GlimpseModel, visual: int, kept: int, grid: tuple[int, int]) -> None:
    """One question, as ``prefill_pruned`` goes, with the selection given by its size."""
    backbone: Backbone = model.backbone
    glimpse = model.method
    assert glimpse is not None
    last = glimpse.prune_layer
    total = TEXT_BEFORE + visual + TEXT_AFTER
    states, (places, rotary) = hidden(model, total + 1)  # and the glimpse token
    cache = PrefillCache()
    states = run_layers(backbone, range(last), states, rotary, cache)
    enter_layer(backbone, last, states, rotary, cache)
    backbone.queries(last, states[:, -1:], (rotary[0][:, -1:], rotary[1][:, -1:]))
    layers = len(glimpse.vision_layers)
    features = [torch.empty(visual, backbone.shape.vision_hidden_size, device="meta")] * layers
    heads = backbone.shape.num_attention_heads
    glimpse.score(torch.empty(1, visual, heads, device="meta"), glimpse.precompute(features, grid))
    survivors = torch.zeros(TEXT_BEFORE + kept + TEXT_AFTER, dtype=torch.long, device="meta")
    states = leave_layer(backbone, last, states, places, cache, survivors)
    rotary = backbone.rotary(places[:, None, : survivors.numel()])
    end = torch.zeros(1, dtype=torch.long, device="meta")
    backbone.logits(run_to_end(backbone, last + 1, states, rotary, Continuation(), end))


def vision(config: Any, tokens: int) -> int:
    """The tower by its sizes: patch embedding, blocks with attention in windows or over everything, merger."""
    patches, width = 4 * tokens, config.hidden_size
    window = (config.window_size // config.patch_size) ** 2
    linear = config.depth * (4 * width * width + 3 * width * config.intermediate_size)
    linear += 3 * config.temporal_patch_size * config.patch_size**2 * width
    merger = (4 * width) * (4 * width) + 4 * width * config.out_hidden_size
    whole = len(config.fullatt_block_indexes)
    attention = 4 * width * patches * (whole * patches + (config.depth - whole) * window)
    return 2 * patches * linear + 2 * tokens * merger + attention


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7b")
    parser.add_argument("--tokens", type=int, default=5000)
    parser.add_argument("--keep", type=float, default=0.04)
    parser.add_argument("--questions", type=int, nargs="+", default=[1, 4, 10, 20, 30])
    args = parser.parse_args()
    model = make_model(SHAPES[args.shape], torch.device("meta"), torch.float32)
    assert model.method is not None
    rows = round((args.tokens * 1.4) ** 0.5)
    grid = (rows, round(args.tokens / rows))
    visual = grid[0] * grid[1]
    kept = round(args.keep * visual)
    config: Any = model.base.config
    shape = DecoderShape.of(model.backbone.shape)
    shared = TEXT_BEFORE + visual
    baseline = count(lambda: unpruned(model, shared + TEXT_AFTER))
    counted = count(lambda: pruned(model, visual, kept, grid))
    tower = vision(config.vision_config, visual)
    print(f"{args.shape}, {visual} visual tokens, {kept} kept; vision tower {tower / 1e12:.1f} TFLOPs by its sizes\n")
    print(f"one question, torch's counter: {baseline / 1e12:.2f} unpruned, {counted / 1e12:.2f} pruned: "
          f"{counted / baseline:.1%}; the tower included {(counted + tower) / (baseline + tower):.1%}\n")  # fmt: skip
    print("| questions | a question, TFLOPs | of the unpruned by itself | unpruned shared prefix | pruned / unpruned |")
    print("|" + " --- |" * 5)
    for number in args.questions:
        work = PageWork(shared, visual, [TEXT_AFTER] * number, [1] * number)
        ours, whole = (
            pruned_operations(shape, model.method, work, args.keep).flops,
            unpruned_operations(shape, work).flops,
        )
        print(f"| {number} | {ours / number / 1e12:.2f} | {ours / number / baseline:.1%} | "
              f"{whole / number / 1e12:.2f} | {ours / whole:.3f} |")  # fmt: skip


if __name__ == "__main__":
    main()
