"""Inputs for the tiny model, shaped as a processor makes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glimpseprune.rule import KeepRule

RULE = KeepRule(max_ratio=0.4, min_tokens=3)
PAD, VISION_START, VISION_END, IMAGE = 256, 259, 260, 261


def item(grids: Sequence[tuple[int, int]], text: int, seed: int, patch_dim: int = 1176) -> dict[str, Tensor]:
    """One unpadded item: text, images of ``grids`` (rows and columns of visual tokens) and ``text`` more tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 256, (3,), generator=generator).tolist()
    for rows, columns in grids:
        ids += [VISION_START, *[IMAGE] * (rows * columns), VISION_END]
    ids += torch.randint(0, 256, (text,), generator=generator).tolist()
    patches = sum(rows * columns * 4 for rows, columns in grids)
    return {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        "pixel_values": torch.randn(patches, patch_dim, generator=generator),
        "image_grid_thw": torch.tensor([[1, 2 * r, 2 * c] for r, c in grids]).reshape(-1, 3),
    }


def batch(items: Sequence[dict[str, Tensor]], side: str = "left") -> dict[str, Tensor]:
    """Several items with padding on one side."""
    longest = max(one["input_ids"].shape[1] for one in items)

    def padded(name: str, value: int) -> Tensor:
        rows = []
        for one in items:
            fill = torch.full((1, longest - one[name].shape[1]), value)
            rows.append(torch.cat([fill, one[name]] if side == "left" else [one[name], fill], dim=1))
        return torch.cat(rows)

    images = {
        name: torch.cat([one[name] for one in items]) for name in items[0].keys() - {"input_ids", "attention_mask"}
    }
    return {"input_ids": padded("input_ids", PAD), "attention_mask": padded("attention_mask", 0), **images}


ITEMS = [
    item([(6, 9)], text=11, seed=1),
    item([(3, 5)], text=30, seed=2),
    item([(10, 4)], text=7, seed=3),
    item([(8, 8)], text=18, seed=4),
]
