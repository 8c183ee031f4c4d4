"""How much of rendered pages is blank paper, and what leaving it out saves.

    python benchmarks/blank.py --input pdfs/ [--dpi 200] [--pages 200] [--keep 0.04]

FLOPs are those of one question at the 7B shape, at each page's own size: the language model's prefill by
glimpseprune/cost.py, with --drop-blank and with GlimpsePrune on top, and the vision tower by its sizes. What it does
to answers is measured by `docpipe eval --drop-blank`.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import islice
from typing import Any

import torch
from flops import vision
from random_model import SHAPES, make_model

from glimpseprune.cost.flops import DecoderShape, PageWork, pruned_operations, unpruned_operations
from glimpseprune.families.shape import ModelShape
from glimpseprune.methods.glimpse.addon_config import new_addon_config
from glimpseprune.methods.glimpse.module import Glimpse
from pipeline.errors import PageError
from pipeline.pages.blank_paper import inked_cells, visible_cells
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import PageImage, PixelBudget

CELL = 28
BUDGET = PixelBudget(CELL, 3136, 16384 * CELL**2, family="pipeline.families.qwen2_5_vl")
SHAPE_7B = ModelShape(3584, 28, 28, 4, 128, 18944, 152064, 1e-6, 1280, 32, 4)
SHAPE = DecoderShape.of(SHAPE_7B)
with torch.device("meta"):
    ADDON = Glimpse(new_addon_config(SHAPE_7B))
_MODEL: Any = make_model(SHAPES["7b"], torch.device("meta"), torch.float32).base
TOWER = _MODEL.config.vision_config
BEFORE, AFTER = 15, 25  # text around the image


def flops(seen: int, kept: float | None) -> int:
    work = PageWork(BEFORE + seen, seen, [AFTER], [1])
    return (
        unpruned_operations(SHAPE, work).flops
        if kept is None
        else pruned_operations(SHAPE, ADDON, work, min(1.0, kept / seen)).flops
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", action="append", required=True)
    parser.add_argument("--dpi", type=int, default=200)
    parser.add_argument("--pages", type=int, default=200, help="at most, and five a document")
    parser.add_argument("--keep", type=float, default=0.04)
    args = parser.parse_args()
    shares: list[tuple[float, ...]] = []
    with RenderChild() as child:

        def pages():  # type: ignore[no-untyped-def]
            for document in list_documents(tuple(args.input), None):
                try:
                    numbers = range(1, min(5, child.count_pages(document)) + 1)
                except PageError:
                    continue
                for image in child.render(document, numbers, args.dpi, BUDGET):
                    if isinstance(image, PageImage):
                        yield decode_image(image)

        for page in islice(pages(), args.pages):
            ink, visible = inked_cells(page, CELL), visible_cells(page, CELL)
            total, seen = visible.size, int(visible.sum())
            whole = flops(total, None)
            kept = args.keep * total
            shares.append(
                (
                    1 - float(ink.mean()),
                    seen / total,
                    flops(seen, None) / whole,
                    flops(total, kept) / whole,
                    flops(seen, kept) / whole,
                    vision(TOWER, seen) / vision(TOWER, total),
                    (flops(seen, kept) + vision(TOWER, seen)) / (whole + vision(TOWER, total)),
                )
            )
    names = (
        *("without ink", "seen with --drop-blank", "prefill: dropped", "prefill: glimpse", "prefill: both"),
        *("vision tower: dropped", "vision tower and prefill: both"),
    )
    print(f"{len(shares)} pages at {args.dpi} dpi\n")
    print("| share | mean | p50 | p95 |\n|" + " --- |" * 4)
    for name, values in zip(names, zip(*shares, strict=True), strict=True):
        cuts = statistics.quantiles(values, n=20)
        print(f"| {name} | {statistics.fmean(values):.1%} | {statistics.median(values):.1%} | {cuts[-1]:.1%} |")


if __name__ == "__main__":
    main()
