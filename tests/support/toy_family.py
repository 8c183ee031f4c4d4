"""A model family of two layers, for tests of the seam: its tensors. Its pages are in ``toy_family_input``.

A page is a square of 4 x 4 visual tokens; a visual token is one patch of 2 x 2 pixels, three colours each. A checkpoint
folder holds ``config.json`` with ``model_type: toy_vl`` and nothing else: the weights follow from a seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationConfig

from glimpseprune.errors import InputError
from glimpseprune.families.base import Cache, CacheGroup, EncodedImage, Prompt, Rotary
from glimpseprune.families.registry import Family
from glimpseprune.families.shape import ModelShape
from glimpseprune.families.tower_attention import SDPA, TowerAttention

MODEL_TYPE = "toy_vl"
PAD, IMAGE, END = 0, 1, 2
PATCH_DIM, VOCABULARY, WIDTH, HEADS, LAYERS = 12, 64, 64, 2, 2
SHAPE = ModelShape(WIDTH, LAYERS, HEADS, HEADS, WIDTH // HEADS, WIDTH, VOCABULARY, 1e-6, WIDTH, 1, 0)


class ToyModel(nn.Module):
    """The stock model: an embedding, a linear vision tower, layers without an MLP, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.vision = nn.Linear(PATCH_DIM, WIDTH)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, 4 * WIDTH) for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, VOCABULARY)
        self.generation_config = GenerationConfig(eos_token_id=END)


class ToyBackbone:
    """Drives a :class:`ToyModel`: one rotary axis, attention that takes a bias."""

    rotary_axes = 1
    dtype = torch.float32
    shape = SHAPE
    num_layers = LAYERS
    image_token_id = IMAGE

    def __init__(self, model: ToyModel, attention: TowerAttention = SDPA) -> None:
        self.model = model  # whose tower has no attention

    @property
    def device(self) -> torch.device:
        return self.model.head.weight.device

    def pack(self) -> None:
        """A toy is fast enough."""

    def prompts(self, inputs: Mapping[str, Any]) -> list[Prompt]:
        ids = inputs["input_ids"]
        pixels, (rows, columns) = inputs["pixel_values"], inputs["grid"]
        return [p for row in ids for p in self.page_prompts([row], [pixels], [(rows, columns)])]

    def page_prompts(
        self, input_ids: Sequence[Tensor], pixels: Sequence[Tensor], grids: Sequence[tuple[int, int]]
    ) -> list[Prompt]:
        (image,), (grid,) = pixels, grids  # a toy takes one image
        prompts = []
        for row, ids in enumerate(input_ids):
            slots = (ids == IMAGE).nonzero()[:, 0]
            if slots.numel() != grid[0] * grid[1]:
                raise InputError(f"item {row} has {slots.numel()} image tokens for {grid[0]} x {grid[1]} patches")
            prompts.append(Prompt(ids, torch.arange(ids.numel())[None], (image,), (grid,), (slots,)))
        return prompts

    def encode(
        self, pixels: Tensor, grid: tuple[int, int], layers: Sequence[int], visible: Tensor | None = None
    ) -> EncodedImage:
        cells = None if visible is None else visible.nonzero()[:, 0]
        tokens = self.model.vision(pixels if cells is None else pixels[cells])
        return EncodedImage(tokens, tuple(tokens for _ in layers), grid, cells)

    def embed(self, prompt: Prompt, images: Sequence[EncodedImage]) -> Tensor:
        hidden = self.embed_tokens(prompt.input_ids[None])
        for slots, image in zip(prompt.image_slots, images, strict=True):
            hidden[0, slots] = image.tokens
        return hidden

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        return self.model.embed(input_ids)

    def rotary(self, position_ids: Tensor) -> Rotary:
        half = WIDTH // HEADS // 2
        angles = position_ids[0][..., None] / 1000.0 ** (torch.arange(half) / half)  # [B, T, d / 2]
        return angles.cos(), angles.sin()

    def run_layer(
        self,
        layer: int,
        hidden: Tensor,
        rotary: Rotary,
        cache: Cache | CacheGroup,
        bias: Tensor | None = None,
    ) -> Tensor:
        def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
            causal = bias is None and queries.shape[1] > 1
            out = F.scaled_dot_product_attention(
                queries.transpose(1, 2), keys, values, attn_mask=bias, is_causal=causal
            )
            return out.transpose(1, 2).flatten(2)

        queries, keys, values, gate = self._project(layer, hidden)
        queries, both = self._turn(queries, rotary), torch.cat([self._turn(keys, rotary), values], dim=2)
        if isinstance(cache, CacheGroup):
            out = cache.attend(layer, queries, both, attend)
        else:
            out = attend(queries, *cache.append(both, layer), bias)
        return hidden + out * gate.flatten(2).tanh()

    def keys_values(self, layer: int, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        keys, values = self._project(layer, hidden)[1:3]
        return self._turn(keys, rotary).transpose(1, 2), values.transpose(1, 2)

    def queries(self, layer: int, hidden: Tensor, rotary: Rotary) -> Tensor:
        return self._turn(self._project(layer, hidden)[0], rotary)[0] * (WIDTH // HEADS) ** -0.5

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.head(hidden)

    def _project(self, layer: int, hidden: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys, values and gates, ``[B, T, H, d]`` each."""
        return self.model.layers[layer](hidden).unflatten(-1, (4, HEADS, WIDTH // HEADS)).unbind(2)

    def _turn(self, x: Tensor, rotary: Rotary) -> Tensor:
        cos, sin = (part[:, :, None] for part in rotary)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def make_toy_checkpoint(folder: Path) -> Path:
    """Write a checkpoint folder; ``toy_family_input`` needs nothing more."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": MODEL_TYPE}), encoding="utf-8")
    return folder


def _read_config(folder: Path) -> Any:
    return SimpleNamespace(dtype=torch.float32)


FAMILY = Family(
    read_config=_read_config,
    read_shape=lambda config: SHAPE,
    load_weights=lambda folder, dtype, device, attn_implementation: ToyModel(),
    backbone=ToyBackbone,
)
