"""What the family suite has to know of a family: a tiny checkpoint, inputs for it, and the stock model's own parts.

The stock parts are what :mod:`tests.support.slow_path` is built on; they share no function with the package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Inputs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StockImage:
    """One image after the stock vision tower.

    tokens: visual tokens ``[N, D]`` in raster order.
    features: output of each vision layer that was asked for, ``[N, vision_hidden_size]``.
    rows, columns: the grid of visual tokens.
    deep: what is added to the tokens ``[N, D]`` after decoder layers 0, 1, ...
    """

    tokens: Tensor
    features: list[Tensor]
    rows: int
    columns: int
    deep: Sequence[Tensor] = ()


@dataclass(frozen=True, slots=True)
class TinyFamily:
    """A family, tiny.

    make_checkpoint: writes a complete checkpoint folder (weights, tokenizer, image processor), the same bytes every
        time.
    addon: the fields of ``tiny_addon_config`` that differ from Qwen2.5-VL's.
    items: at least three unpadded inputs with one image each, shaped as a processor makes them.
    two_images, no_image: the same with two images, and with none.
    page: pixels and grid of the first item's image, as ``encode_page`` takes them.
    stock_inputs: what the stock model is called with for an item.
    positions: rotary positions ``[axes, T]`` of an item, by the stock model.
    rope: cosines and sines ``[1, T, d]`` of positions ``[axes, T]``, by the stock model.
    images: the images of an item after the stock tower, with the output of some of its layers.
    failing_module: a module in the middle of the vision tower, for calls that fail there.
    published: the ``config.json`` of an add-on in the published layout, of the model's configuration and the add-on's;
        ``None`` where none is published.
    deep_layers: number of decoder layers after which visual features are added; pruning earlier is refused.
    """

    make_checkpoint: Callable[[Path], Path]
    addon: Mapping[str, object]
    items: Sequence[Inputs]
    two_images: Inputs
    no_image: Inputs
    page: Callable[[], tuple[Tensor, tuple[int, int]]]
    stock_inputs: Callable[[Any, Inputs], Inputs]
    positions: Callable[[Any, Inputs], Tensor]
    rope: Callable[[Any, Tensor], tuple[Tensor, Tensor]]
    images: Callable[[Any, Inputs, tuple[int, ...]], list[StockImage]]
    failing_module: Callable[[Any], Any]
    published: Callable[[Any, dict[str, Any]], dict[str, Any]] | None
    deep_layers: int = 0


def publish_addon(family: TinyFamily, model: Any, glimpse: Any, folder: Path) -> Path:
    """Write an add-on as the published code saves it: a configuration, and a pickle of a dict of modules."""
    if family.published is None:
        raise ValueError("expected a family with published add-ons")
    folder.mkdir(parents=True)
    settings = {name: value for name, value in glimpse.config.to_json().items() if name not in _OURS}
    fields = family.published(model.config, {**settings, "attn_fuse_type": "AttnFuserV1", "anchor_positions": []})
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    modules = {name: getattr(glimpse, name).state_dict() for name in ("attn_fuser", "le_proj", "le_norm")}
    torch.save({**modules, "learnable_embeddings": glimpse.learnable_embeddings.detach()}, folder / "new_modules_gp.pt")
    return folder


_OURS = {
    "format",
    "version",
    "base",
    "window",
    "rms_norm_eps",
    "reduce_reach",
    "reduce_reach_threshold",
    "reduce_margin",
    "reduce_anchor",
}
