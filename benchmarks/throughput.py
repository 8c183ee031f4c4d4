"""Questions a second on identical pages and questions: transformers as users write it, and docpipe.

    python benchmarks/throughput.py --out DIR [--shape small|3b|7b] [--tokens 1000 5000] [--questions 1 4 10 30]
                                    [--rounds 5] [--device auto] [--keep 0.04] [--new-tokens 16]

Weights are random, so the share of tokens kept is forced, with the same random masks for every contender that prunes,
and every answer has exactly ``--new-tokens`` tokens. The contenders take turns within each round; figures are medians
over rounds, and ratios are taken within one run. Writes DIR/throughput.json and DIR/throughput.md.

Contenders:
    generate        transformers, ``generate`` once a question
    batched         transformers, ``generate`` with all questions of the page as one padded batch
    reused prefix   transformers' modules with the image prefix in a cache that every question continues from
    glimpse         docpipe, one question at a time
    docpipe         shared prefix, questions together, pooled decoding
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

import glimpseprune as gp
from glimpseprune.model import GlimpseModel
from glimpseprune.qwen2_5_vl import Qwen25VL

VOCAB = 4096
START, END, IMAGE, VIDEO, PAD = 4090, 4091, 4092, 4093, 4094


@dataclass(frozen=True)
class Shape:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vision_depth: int
    vision_hidden: int
    vision_mlp: int
    vision_heads: int
    reduce_layer: int


SHAPES = {
    "small": Shape(768, 20, 12, 2, 3072, 8, 384, 1024, 6, 12),  # 0.15 B in the language model
    "3b": Shape(2048, 36, 16, 2, 11008, 32, 1280, 3420, 16, 23),
    "7b": Shape(3584, 28, 28, 4, 18944, 32, 1280, 3420, 16, 18),
}


def make_model(shape: Shape, device: torch.device, dtype: torch.dtype) -> GlimpseModel:
    """Random weights in a published shape, with a random add-on of the published ratios."""
    head = shape.hidden // shape.heads // 2
    rows = head * 3 // 8
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCAB,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.mlp,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "max_position_embeddings": 32768,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": PAD,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [head - 2 * rows, rows, rows],
            },
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": shape.vision_depth,
            "hidden_size": shape.vision_hidden,
            "intermediate_size": shape.vision_mlp,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden,
            "fullatt_block_indexes": list(
                range(shape.vision_depth // 4 - 1, shape.vision_depth, shape.vision_depth // 4)
            ),
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with torch.device(device):
        base = Qwen2_5_VLForConditionalGeneration(config).to(dtype).eval().requires_grad_(False)
    model = GlimpseModel(base, Qwen25VL(base), None, frozenset(), 1.0)
    glimpse = gp.new_glimpse(model, shape.reduce_layer).to(dtype).eval().requires_grad_(False)
    return GlimpseModel(base, model.backbone, glimpse, frozenset(), 1.0)


@dataclass
class Work:
    """One page and its questions, the same for every contender."""

    pixels: Tensor
    grid: tuple[int, int]
    prompts: list[Tensor]
    masks: list[Tensor]
    new_tokens: int

    def inputs(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """What the processor would make of some of the questions, each with the page's pixels again."""
        ids = torch.stack([self.prompts[row] for row in rows])
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": self.pixels.repeat(len(rows), 1),
            "image_grid_thw": torch.tensor([[1, *self.grid]] * len(rows), device=ids.device),
        }


def make_work(
    tokens: int, questions: int, keep: float, new_tokens: int, device: torch.device, dtype: torch.dtype
) -> Work:
    generator = torch.Generator().manual_seed(tokens + questions)
    columns = round((tokens / 1.4) ** 0.5)
    rows = round(tokens / columns)
    count = rows * columns
    head = torch.randint(0, 4000, (12,), generator=generator)
    image = torch.tensor([START, *[IMAGE] * count, END])
    prompts = [torch.cat([head, image, torch.randint(0, 4000, (20,), generator=generator)]) for _ in range(questions)]
    masks = []
    for _ in range(questions):
        mask = torch.zeros(count, dtype=torch.bool)
        mask[torch.randperm(count, generator=generator)[: max(1, round(keep * count))]] = True
        masks.append(mask)
    pixels = torch.randn(count * 4, 1176, generator=generator)
    return Work(
        pixels=pixels.to(device, dtype),
        grid=(2 * rows, 2 * columns),
        prompts=[prompt.to(device) for prompt in prompts],
        masks=[mask.to(device) for mask in masks],
        new_tokens=new_tokens,
    )


@torch.inference_mode()
def one_by_one(model: GlimpseModel, work: Work) -> None:
    for row in range(len(work.prompts)):
        _stock(model, work, [row])


@torch.inference_mode()
def batched(model: GlimpseModel, work: Work) -> None:
    _stock(model, work, range(len(work.prompts)))


def _stock(model: GlimpseModel, work: Work, rows: Sequence[int]) -> None:
    base: Any = model.base
    base.generate(
        **work.inputs(rows), do_sample=False, max_new_tokens=work.new_tokens, min_new_tokens=work.new_tokens,
        pad_token_id=PAD,
    )  # fmt: skip


@torch.inference_mode()
def reused_prefix(model: GlimpseModel, work: Work) -> None:
    """The image once into a cache; every question continues from there, and is cut off again after its answer."""
    base: Any = model.base
    text, backbone = base.model.language_model, model.backbone
    prompts = backbone.page_prompts(work.prompts, work.pixels, work.grid)
    image = backbone.encode(work.pixels, work.grid, ())
    shared = work.prompts[0].numel() - 20
    embedded = backbone.embed(prompts[0], [image])[:, :shared]
    cache = DynamicCache(config=base.config.text_config)
    text(inputs_embeds=embedded, position_ids=prompts[0].position_ids[:, None, :shared], past_key_values=cache)
    for prompt in prompts:
        hidden = backbone.embed_tokens(prompt.input_ids[None, shared:])
        positions = prompt.position_ids[:, None, shared:]
        for _ in range(work.new_tokens):
            out = text(inputs_embeds=hidden, position_ids=positions, past_key_values=cache).last_hidden_state
            token = base.lm_head(out[:, -1:]).argmax(-1)
            hidden, positions = backbone.embed_tokens(token), positions[..., -1:] + 1
        cache.crop(shared - cache.get_seq_length())


def glimpse_alone(model: GlimpseModel, work: Work) -> None:
    for row, mask in enumerate(work.masks):
        gp.generate(model, work.inputs([row]), rule=mask, max_new_tokens=work.new_tokens)


def docpipe(model: GlimpseModel, work: Work) -> None:
    gp.generate_page(model, work.prompts, work.pixels, work.grid, work.masks, work.new_tokens)


CONTENDERS: dict[str, Callable[[GlimpseModel, Work], None]] = {
    "generate": one_by_one,
    "batched": batched,
    "reused prefix": reused_prefix,
    "glimpse": glimpse_alone,
    "docpipe": docpipe,
}


@dataclass
class Row:
    contender: str
    visual_tokens: int
    questions: int
    questions_per_s: float
    ratio_to_generate: float
    ratio_to_reused_prefix: float
    peak_bytes_above_weights: int | None
    tflops_per_question: float


def measure(model: GlimpseModel, work: Work, rounds: int, device: torch.device) -> list[Row]:
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    peaks: dict[str, int] = {}
    for _ in range(rounds):
        for name, contender in CONTENDERS.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            start = time.perf_counter()
            contender(model, work)
            if device.type == "cuda":
                torch.cuda.synchronize()
                peaks[name] = max(peaks.get(name, 0), torch.cuda.max_memory_allocated() - before)
            seconds[name].append(time.perf_counter() - start)
    count = len(work.prompts)
    rows = []
    for name, contender in CONTENDERS.items():
        # Fused attention is not counted on a CPU; written out, it is.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            contender(model, work)
        rows.append(
            Row(
                contender=name,
                visual_tokens=work.masks[0].numel(),
                questions=count,
                questions_per_s=count / statistics.median(seconds[name]),
                ratio_to_generate=_ratio(seconds["generate"], seconds[name]),
                ratio_to_reused_prefix=_ratio(seconds["reused prefix"], seconds[name]),
                peak_bytes_above_weights=peaks.get(name),
                tflops_per_question=counter.get_total_flops() / count / 1e12,
            )
        )
    return rows


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Median over rounds of their time over our time in the same round."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def markdown(rows: Sequence[Row]) -> str:
    lines = [
        "| visual tokens | questions | contender | questions/s | x generate | x prefix | TFLOPs/question | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        peak = "" if row.peak_bytes_above_weights is None else f"{row.peak_bytes_above_weights / 1e6:.0f}"
        lines.append(
            f"| {row.visual_tokens} | {row.questions} | {row.contender} | {row.questions_per_s:.3f} | "
            f"{row.ratio_to_generate:.2f} | {row.ratio_to_reused_prefix:.2f} | {row.tflops_per_question:.2f} | {peak} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "throughput")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--questions", type=int, nargs="+", default=[1, 4, 10, 30])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", type=float, default=0.04)
    parser.add_argument("--new-tokens", type=int, default=16)
    args = parser.parse_args()
    device = torch.device(args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = make_model(SHAPES[args.shape], device, dtype)
    rows: list[Row] = []
    for tokens in args.tokens:
        for questions in args.questions:
            work = make_work(tokens, questions, args.keep, args.new_tokens, device, dtype)
            rows += measure(model, work, args.rounds, device)
            print(markdown(rows[-len(CONTENDERS) :]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(args).items()}
    (args.out / "throughput.json").write_text(
        json.dumps({"settings": settings, "rows": [asdict(r) for r in rows]}, indent=1)
    )
    (args.out / "throughput.md").write_text(markdown(rows) + "\n")


if __name__ == "__main__":
    main()
