"""Qwen2.5-VL in the family suite: the tiny checkpoint of ``tiny_model``, and the stock model's own parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.support.batches import ITEMS, item
from tests.support.tiny_family import Inputs, StockImage, TinyFamily
from tests.support.tiny_model import make_tiny_checkpoint


def image_kinds(model: Any, inputs: Inputs) -> Tensor:
    return (inputs["input_ids"] == model.config.image_token_id).int()


def stock_inputs(model: Any, inputs: Inputs) -> Inputs:
    if not inputs["pixel_values"].numel():
        return {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    return {**inputs, "mm_token_type_ids": image_kinds(model, inputs)}


def positions(model: Any, inputs: Inputs) -> Tensor:
    kinds = image_kinds(model, inputs)
    found, _ = model.model.get_rope_index(
        inputs["input_ids"], mm_token_type_ids=kinds, image_grid_thw=inputs["image_grid_thw"]
    )
    return found[:, 0]


def rope(model: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = model.model.language_model.rotary_emb(torch.zeros(1), positions[:, None])
    return cos, sin


def images(model: Any, inputs: Inputs, layers: tuple[int, ...]) -> list[StockImage]:
    """Visual tokens and mean-pooled features in raster order, from the stock tower's own list of hidden states."""
    found, start = [], 0
    for grid in inputs["image_grid_thw"]:
        pixels = inputs["pixel_values"][start : start + int(grid.prod())]
        start += len(pixels)
        out = model.model.visual(pixels, grid_thw=grid[None], output_hidden_states=True)
        side, rows, columns = model.model.visual.window_size // 28, int(grid[1]) // 2, int(grid[2]) // 2
        order = sorted(range(rows * columns), key=lambda n: (n // columns // side, n % columns // side))
        raster = torch.tensor(order).argsort()
        blocks = len(model.model.visual.blocks)
        hidden = out.hidden_states if len(out.hidden_states) == blocks else out.hidden_states[1:]
        features = [hidden[layer].reshape(rows * columns, 4, -1).mean(1)[raster] for layer in layers]
        found.append(StockImage(out.pooler_output, features, rows, columns))
    return found


def page() -> tuple[Tensor, tuple[int, int]]:
    rows, columns = ITEMS[0]["image_grid_thw"][0, 1:].tolist()
    return ITEMS[0]["pixel_values"], (rows, columns)


def make_checkpoint(folder: Path) -> Path:
    return make_tiny_checkpoint(folder)


def published(config: Any, addon: dict[str, Any]) -> dict[str, Any]:
    text, vision = config.text_config.to_dict(), config.vision_config.to_dict()
    return {**text, **addon, "model_type": "qwen2_5_vl_gp", "vision_config": vision}


FAMILY = TinyFamily(
    make_checkpoint=make_checkpoint,
    addon={},
    items=ITEMS,
    two_images=item([(4, 6), (7, 3)], text=9, seed=5),
    no_image=item([], text=12, seed=6),
    page=page,
    stock_inputs=stock_inputs,
    positions=positions,
    rope=rope,
    images=images,
    failing_module=lambda model: model.model.visual.blocks[2].mlp,
    published=published,
)
