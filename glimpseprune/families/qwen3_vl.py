"""Drives the stock Qwen3-VL (dense) as a :class:`~glimpseprune.families.base.Backbone`, with its own weights.

Its tower gives the language model deep features (DeepStack), which are added to the visual tokens again after the first
decoder layers, so pruning is possible only behind those. Prompts and rotary positions are those of Qwen2.5-VL; that the
rotary axes are interleaved, the stock rotary module knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, Qwen3VLForConditionalGeneration

from glimpseprune.errors import UnsupportedModelError
from glimpseprune.families.base import Cache, CacheGroup, EncodedImage, Prompt, Rotary
from glimpseprune.families.decoder import Decoder
from glimpseprune.families.qwen2_5_vl_prompts import PromptMaker
from glimpseprune.families.qwen3_vl_vision import run_tower
from glimpseprune.families.registry import Family
from glimpseprune.families.shape import ModelShape
from glimpseprune.families.stock_weights import load_stock
from glimpseprune.families.tower_attention import SDPA, TowerAttention
from glimpseprune.ink import inked
from glimpseprune.packed_linear import pack_linears


class Qwen3VL:
    """Drives a ``Qwen3VLForConditionalGeneration``.

    Args:
        model: the stock model, which computes what it did before; its projections become views of joined ones.
        attention: not used, since the tower has no windows; for one sequence SDPA has fused kernels.

    Raises:
        UnsupportedModelError: the model has sliding-window layers, or deep features after its last layer.
    """

    rotary_axes = 3  # time, row, column

    def __init__(self, model: Any, attention: TowerAttention = SDPA) -> None:
        self.model = model
        self.vision = model.model.visual
        self.decoder = Decoder(model.model.language_model, model.lm_head)
        self.shape = read_shape(model.config)
        self.num_layers = self.shape.num_hidden_layers
        if self.shape.deep_layers >= self.num_layers:
            raise UnsupportedModelError(
                f"expected deep features for fewer decoder layers than the {self.num_layers} of the model, found "
                f"deepstack_visual_indexes for {self.shape.deep_layers}; take a complete checkpoint"
            )
        self.image_token_id = int(model.config.image_token_id)
        merge = int(model.config.vision_config.spatial_merge_size)
        self.prompt_maker = PromptMaker(self.image_token_id, int(model.config.video_token_id), merge)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.decoder.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.decoder.dtype

    def pack(self) -> None:
        """Lay the weights out for the matrix kernels of a CPU; see :class:`~glimpseprune.families.base.Backbone`."""
        self.decoder.pack()
        pack_linears(self.vision)

    def prompts(self, inputs: Mapping[str, Any]) -> list[Prompt]:
        """Split a batch into prompts; see :class:`~glimpseprune.families.base.Backbone`."""
        return self.prompt_maker.batch(inputs, self.device)

    def page_prompts(
        self, input_ids: Sequence[Tensor], pixels: Sequence[Tensor], grids: Sequence[tuple[int, int]]
    ) -> list[Prompt]:
        """Make several prompts about the same images; see :class:`~glimpseprune.families.base.Backbone`."""
        return self.prompt_maker.page(input_ids, [image.to(self.device) for image in pixels], grids)

    def encode(
        self, pixels: Tensor, grid: tuple[int, int], layers: Sequence[int], visible: Tensor | None = None
    ) -> EncodedImage:
        """Run the vision tower on one image; see :class:`~glimpseprune.families.base.Backbone`."""
        token_grid = self.prompt_maker.token_grid(grid)
        every = torch.arange(token_grid[0] * token_grid[1], device=pixels.device)
        cells = every if visible is None else every[visible]
        tokens, deep, outputs = run_tower(self.vision, pixels, grid, cells, layers)
        features = tuple(outputs[layer] for layer in layers)
        ink = inked(pixels, cells, len(every))
        return EncodedImage(tokens, features, token_grid, None if visible is None else cells, deep, ink)

    def embed(self, prompt: Prompt, images: Sequence[EncodedImage]) -> Tensor:
        """Embed a prompt: ``[1, T, D]``, with the visual tokens in their places."""
        return self.decoder.embed(prompt, images)

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Embed text tokens: ``[B, T] -> [B, T, D]``."""
        return self.decoder.embed_tokens(input_ids)

    def rotary(self, position_ids: Tensor) -> Rotary:
        """Prepare the rotary embedding of positions ``[3, B, T]``; see :func:`~.decoder_layer.prepared`."""
        return self.decoder.rotary(position_ids)

    def run_layer(
        self,
        layer: int,
        hidden: Tensor,
        rotary: Rotary,
        cache: Cache | CacheGroup,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Run one decoder layer; see :class:`~glimpseprune.families.base.Backbone`."""
        return self.decoder.run_layer(layer, hidden, rotary, cache, bias)

    def keys_values(self, layer: int, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Compute the keys (after rotary) and values of every position, ``[B, H_kv, T, d]`` each."""
        return self.decoder.keys_values(layer, hidden, rotary)

    def queries(self, layer: int, hidden: Tensor, rotary: Rotary) -> Tensor:
        """Compute the queries ``[T, H, d]`` of every position, rotated and scaled."""
        return self.decoder.queries(layer, hidden, rotary)

    def logits(self, hidden: Tensor) -> Tensor:
        """Apply the final norm and the head: ``[B, D] -> [B, vocab]``, float32."""
        return self.decoder.logits(hidden)


def read_shape(config: Any) -> ModelShape:
    """Take the sizes from a ``Qwen3VLConfig``."""
    text, vision = config.text_config, config.vision_config
    return ModelShape(
        hidden_size=text.hidden_size,
        num_hidden_layers=text.num_hidden_layers,
        num_attention_heads=text.num_attention_heads,
        num_key_value_heads=text.num_key_value_heads,
        head_dim=text.head_dim,
        intermediate_size=text.intermediate_size,
        vocab_size=text.vocab_size,
        rms_norm_eps=text.rms_norm_eps,
        vision_hidden_size=vision.hidden_size,
        vision_depth=vision.depth,
        vision_window=0,
        deep_layers=len(vision.deepstack_visual_indexes),
    )


def load_weights(folder: Path, dtype: torch.dtype, device: torch.device, attn_implementation: str) -> Any:
    """Load the stock model; see :class:`~glimpseprune.families.registry.LoadWeights`."""
    return load_stock(Qwen3VLForConditionalGeneration, folder, dtype, device, attn_implementation)


FAMILY = Family(
    read_config=AutoConfig.from_pretrained, read_shape=read_shape, load_weights=load_weights, backbone=Qwen3VL
)
