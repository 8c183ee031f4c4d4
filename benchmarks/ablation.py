"""What each part of the method is worth: the add-on trained without it, measured on held-out pages.

    python benchmarks/ablation.py --out DIR [--model nano] [--questions 800] [--pages 20]

Every variant trains its own add-on on the same samples with the same settings but for what it lacks, and is measured on
the same held-out pages. Variants that are done are kept in DIR, so the command resumes. It prints a Markdown table and
writes it to DIR/ablation.md, beside the published ablation (arXiv 2508.01548, 3B model, mean of 12 sets).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import glimpseprune as gp
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.methods.glimpse.predictor import ImageCondition, Predictor
from glimpseprune.prefill.alone import prefill_full, prefill_pruned
from glimpseprune.training.stage1 import LossWeights
from glimpseprune.training.trainer import Figures, train
from pipeline.answering.checkpoints import default_dpi, resolve_model
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.datasets.example import by_page
from pipeline.datasets.load import load_examples
from pipeline.datasets.page_images import PageImages
from pipeline.datasets.training_examples import GlimpseTask
from pipeline.evaluation.evaluate import Measured, measure_page
from pipeline.evaluation.score_table import scores
from pipeline.families.registry import find_family
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.questions.question import DEFAULT_PROMPT
from pipeline.records import PageImage
from pipeline.samples.write import pick_seeds, write_samples

RULE = gp.KeepRule(threshold=0.3, margin=1)  # no anchors: what is kept is what the predictor says
BOTH = LossWeights(kl=1.0, language=0.0, localisation=1.0)


class MeanAttention(nn.Module):
    """No predictor: the glimpse attention, averaged over heads, with a scale and a threshold that are learned."""

    def __init__(self) -> None:
        super().__init__()
        # A tenth of what they stand for, so that the common learning rate gets them somewhere.
        self.scale = nn.Parameter(torch.tensor(0.1))
        self.shift = nn.Parameter(torch.tensor(0.0))

    def precompute(self, *image: Any) -> tuple[()]:
        return ()

    def score(self, attention: Tensor, image: tuple[()]) -> Tensor:
        return 10 * (self.scale * attention.mean(-1) + self.shift)


class Unconditioned(Predictor):
    """The predictor without the visual features."""

    def precompute(
        self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None
    ) -> ImageCondition:
        return super().precompute([torch.zeros_like(feature) for feature in features], grid, cells)


@dataclass(frozen=True)
class Variant:
    name: str
    weights: LossWeights = BOTH
    reduce_layer: int | None = None
    predictor: str = "vip"


def variants(layers: int) -> list[Variant]:
    losses = [
        Variant("KL alone", LossWeights(kl=1.0, language=0.0, localisation=0.0, retention=1.0)),
        Variant("language alone", LossWeights(kl=0.0, language=1.0, localisation=0.0, retention=1.0)),
        Variant("localisation alone", LossWeights(kl=0.0, language=0.0, localisation=1.0)),
    ]
    depths = [Variant(f"K = {layer}", reduce_layer=layer) for layer in range(layers) if layer != round(0.65 * layers)]
    parts = [Variant("no predictor", predictor="mean"), Variant("no visual condition", predictor="blind")]
    return [Variant("full"), *parts, *losses, *depths]


def prefill_flops(page_answerer: PageAnswerer, page: PageImage, question: str, rule: gp.KeepRule | None) -> int:
    """Language model FLOPs of one prefill, glimpse and predictor included, vision tower not."""
    pixels, grid = page_answerer.processor.image(decode_image(page))
    prompt = page_answerer.model.backbone.page_prompts(
        [page_answerer.processor.prompt(DEFAULT_PROMPT.format(text=question), grid)], [pixels], [grid]
    )[0]
    glimpse = page_answerer.model.method
    layers = () if glimpse is None else glimpse.vision_layers
    with torch.no_grad():
        image = page_answerer.model.backbone.encode(pixels, grid, layers)
        # Fused attention is not counted on a CPU; written out, it is.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            if rule is None or glimpse is None:
                prefill_full(page_answerer.model.backbone, prompt, [image])
            else:
                prefill_pruned(page_answerer.model.backbone, glimpse, prompt, [image], rule)
    return int(counter.get_total_flops())


def run(
    variant: Variant, page_answerer: PageAnswerer, images: PageImages, train_set: Path, test_set: Path, args: Any
) -> dict[str, Any]:
    torch.manual_seed(0)
    glimpse = gp.new_glimpse(page_answerer.model, variant.reduce_layer)
    if variant.predictor == "mean":
        glimpse.attn_fuser = MeanAttention()  # type: ignore[assignment]
    elif variant.predictor == "blind":
        glimpse.attn_fuser = Unconditioned(glimpse.config)
    fit(variant, page_answerer, images, glimpse, train_set, args)
    glimpse.requires_grad_(False).eval()
    measured = PageAnswerer(replace(page_answerer.model, method=glimpse), page_answerer.processor)
    rows: list[Measured] = []
    flops, full = [], []
    for number, examples in enumerate(by_page(load_examples(test_set))):
        page = images.rendered(examples[0])
        rows += measure_page(measured, page, examples, ("glimpse",), RULE, number)
        if number < 5:
            flops.append(prefill_flops(measured, page, examples[0].question, RULE))
            full.append(prefill_flops(measured, page, examples[0].question, None))
    score = scores(rows)[0]
    return {
        "variant": variant.name,
        "K": glimpse.config.reduce_layer,
        "exact": score.exact,
        "anls": score.anls,
        "retention": score.retention_mean,
        "boxes_covered": score.boxes_covered,
        "prefill_flops": sum(flops) / sum(full),
    }


def fit(
    variant: Variant, page_answerer: PageAnswerer, images: PageImages, glimpse: Glimpse, data: Path, args: Any
) -> None:
    task = GlimpseTask(
        page_answerer.model,
        glimpse,
        page_answerer.processor,
        images,
        load_examples(data),
        steps=args.questions // args.batch,
        accumulation_steps=1,
        questions=args.batch,
        weights=variant.weights,
        margin=args.margin,
        drop_blank=0.0,
        rate=args.rate,
        warm_up=0.1,
        seed=0,
        workers=1,
    )

    def after(step: int, figures: Figures) -> bool:
        if step % 50 == 0:
            print(variant.name, step, {name: round(value, 3) for name, value in figures.items()}, flush=True)
        return False

    train(task, 0, after)


def unpruned(page_answerer: PageAnswerer, images: PageImages, test_set: Path) -> dict[str, Any]:
    rows: list[Measured] = []
    for examples in by_page(load_examples(test_set)):
        rows += measure_page(page_answerer, images.rendered(examples[0]), examples, ("off",), None, 0)
    score = scores(rows)[0]
    return {"variant": "unpruned", "K": None, "exact": score.exact, "anls": score.anls, "retention": 1.0,
            "boxes_covered": 1.0, "prefill_flops": 1.0}  # fmt: skip


PUBLISHED = {
    "unpruned": ".746",
    "full": ".736",
    "no visual condition": ".716",
    "no predictor": ".702",
}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| variant | K | exact | ANLS | kept | boxes covered | prefill FLOPs | published |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        k = "-" if row["K"] is None else row["K"]
        lines.append(
            f"| {row['variant']} | {k} | {row['exact']:.3f} | {row['anls']:.3f} | {row['retention']:.1%} | "
            f"{row['boxes_covered']:.1%} | {row['prefill_flops']:.1%} | {PUBLISHED.get(row['variant'], '')} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--questions", type=int, default=800, help="to train each variant on")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--margin", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--pages", type=int, default=20, help="held out, to measure on")
    parser.add_argument("--dpi", type=int, help="of the pages; the model's own by default")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    train_set, test_set = args.out / "train", args.out / "test"
    if not train_set.exists():
        write_samples(train_set, pick_seeds(11, 400))
        write_samples(test_set, pick_seeds(12, args.pages))
    page_answerer = PageAnswerer.load(args.model, None, "cpu", "float32", "sdpa", 0)
    done = args.out / "rows.jsonl"
    rows = [json.loads(line) for line in done.read_text().splitlines()] if done.is_file() else []
    with RenderChild() as child:
        dpi = args.dpi or default_dpi(args.model)
        folder = resolve_model(args.model)
        images = PageImages(child, dpi, find_family(folder).read_budget(folder, None))
        for variant in [None, *variants(page_answerer.model.backbone.num_layers)]:
            name = "unpruned" if variant is None else variant.name
            if any(row["variant"] == name for row in rows):
                continue
            if variant is None:
                rows.append(unpruned(page_answerer, images, test_set))
            else:
                rows.append(run(variant, page_answerer, images, train_set, test_set, args))
            with done.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    text = markdown(rows)
    (args.out / "ablation.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
