"""What a model and its caches take on a GPU, by arithmetic: which published shape fits on which card.

    python benchmarks/card_memory.py [--ratio 0.111]

Parameters are counted on the meta device; no weights are made. A question's cache holds its kept tokens in all layers
once it is pruned, and the whole page unpruned, where the prefix is shared by the questions of the page while they are
prefilled. Nine tenths of a card are used; beside the weights stands what prefill works in: the vision tower first, on
four patches per visual token, and then the language model. Prints a Markdown table.
"""

from __future__ import annotations

import argparse

import torch
from random_model import SHAPES, VOCAB, Shape, make_model

BYTES = 2  # bfloat16
VOCABULARIES = {"3b": (151_936, 1), "7b": (152_064, 2), "32b": (152_064, 2)}  # rows, and matrices: a tied head is one
PAGES = (5_040, 16_384)  # visual tokens: A4 at 200 dpi, and the most that the checkpoints take
CARDS_GB = (24, 40, 80)
WORKING = 4  # tensors of hidden states and MLP that a layer needs at a time
PATCHES = 4  # per visual token


def weight_bytes(name: str, shape: Shape) -> int:
    """Weights of the base, without an add-on."""
    model = make_model(shape, torch.device("meta"), torch.bfloat16).base
    rows, matrices = VOCABULARIES[name]
    counted = sum(parameter.numel() for parameter in model.parameters())
    return (counted + (rows * matrices - VOCAB) * shape.hidden) * BYTES


def cache_bytes(shape: Shape, tokens: int) -> int:
    """Keys and values of tokens in all layers."""
    return 2 * shape.layers * shape.kv_heads * (shape.hidden // shape.heads) * tokens * BYTES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratio", type=float, default=0.111, help="share of the visual tokens that is kept")
    ratio = parser.parse_args().ratio
    cards = " | ".join(f"{card} GB" for card in CARDS_GB)
    print(f"| shape | weights GB | visual tokens | cache of a question, MB: whole | kept | prefill GB | {cards} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in VOCABULARIES:
        shape = SHAPES[name]
        weights = weight_bytes(name, shape)
        for tokens in PAGES:
            whole, kept = cache_bytes(shape, tokens), cache_bytes(shape, int(tokens * ratio))
            tower = PATCHES * tokens * (shape.vision_hidden + shape.vision_mlp) * WORKING * BYTES
            prefill = max(tower, whole + tokens * (shape.hidden + shape.mlp) * WORKING * BYTES)
            room = [int(0.9 * card * 1e9) - weights - prefill for card in CARDS_GB]
            fits = " | ".join("no" if left < whole else f"{left // whole} / {left // kept}" for left in room)
            print(
                f"| {name.upper()} | {weights / 1e9:.1f} | {tokens:,} | {whole / 1e6:.0f} | {kept / 1e6:.0f} "
                f"| {prefill / 1e9:.1f} | {fits} |"
            )


if __name__ == "__main__":
    main()
