"""Drives the stock LLaVA-1.5 as a :class:`~glimpseprune.families.base.Backbone`, with its own weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, LlavaForConditionalGeneration

from glimpseprune.errors import UnsupportedModelError
from glimpseprune.families.base import Cache, CacheGroup, EncodedImage, Prompt, Rotary
from glimpseprune.families.decoder import Decoder
from glimpseprune.families.llava_prompts import PromptMaker
from glimpseprune.families.llava_vision import run_tower
from glimpseprune.families.registry import Family
from glimpseprune.families.shape import ModelShape
from glimpseprune.families.stock_weights import load_stock
from glimpseprune.families.tower_attention import SDPA, TowerAttention
from glimpseprune.ink import inked
from glimpseprune.packed_linear import pack_linears

_TOWER, _LANGUAGE_MODEL = "clip_vision_model", "llama"
_TAKE = "llava-hf/llava-1.5-7b-hf or llava-hf/llava-1.5-13b-hf"


class Llava:
    """Drives a ``LlavaForConditionalGeneration`` with a CLIP tower and a Llama language model.

    Args:
        model: the stock model, which computes what it did before; its projections become views of joined ones.
        attention: not used, since the tower has no windows; for one sequence SDPA has fused kernels.

    Raises:
        UnsupportedModelError: the model has another tower or language model, or takes its visual tokens from several
            layers or with the class token.
    """

    rotary_axes = 1

    def __init__(self, model: Any, attention: TowerAttention = SDPA) -> None:
        self.shape = read_shape(model.config)
        self.vision, self.projector = model.model.vision_tower, model.model.multi_modal_projector
        self.decoder = Decoder(model.model.language_model, model.lm_head)
        self.num_layers = self.shape.num_hidden_layers
        self.image_token_id = int(model.config.image_token_id)
        self.token_state = model.config.vision_feature_layer % (self.shape.vision_depth + 1)
        vision = model.config.vision_config
        side = int(vision.image_size) // int(vision.patch_size)
        self.prompt_maker = PromptMaker(self.image_token_id, side, int(vision.patch_size))

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
        pack_linears(self.projector)

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
        """Run the vision tower on one image; see :class:`~glimpseprune.families.base.Backbone`.

        Vision layer i stands for ``hidden_states[i]`` of the stock tower: what enters block i, not what leaves it.
        """
        every = torch.arange(grid[0] * grid[1], device=pixels.device)
        cells = every if visible is None else every[visible]
        states = run_tower(self.vision, pixels, cells, {*layers, self.token_state})
        features = tuple(states[layer] for layer in layers)
        tokens = self.projector(states[self.token_state])
        ink = inked(pixels, cells, len(every))
        return EncodedImage(tokens, features, grid, None if visible is None else cells, inked=ink)

    def embed(self, prompt: Prompt, images: Sequence[EncodedImage]) -> Tensor:
        """Embed a prompt: ``[1, T, D]``, with the visual tokens in their places."""
        return self.decoder.embed(prompt, images)

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Embed text tokens: ``[B, T] -> [B, T, D]``."""
        return self.decoder.embed_tokens(input_ids)

    def rotary(self, position_ids: Tensor) -> Rotary:
        """Prepare the rotary embedding of positions ``[1, B, T]``; see :func:`~.decoder_layer.prepared`."""
        return self.decoder.rotary(position_ids[0])

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


def read_config(folder: Path) -> Any:
    """Read the configuration of a checkpoint.

    Args:
        folder: folder of the checkpoint.

    Raises:
        UnsupportedModelError: the checkpoint has another layout than transformers', or other parts than LLaVA-1.5.
    """
    config = AutoConfig.from_pretrained(folder)
    if getattr(config, "mm_vision_tower", None) is not None:
        raise UnsupportedModelError(
            f"{folder}: expected the layout of transformers, found that of the code LLaVA was trained with, whose "
            f"tower is a checkpoint of its own; take {_TAKE}, the same weights"
        )
    _check_parts(config)
    return config


def read_shape(config: Any) -> ModelShape:
    """Take the sizes from a ``LlavaConfig``.

    Args:
        config: configuration of the checkpoint.

    Raises:
        UnsupportedModelError: the model has another tower or language model.
    """
    _check_parts(config)
    text, vision = config.text_config, config.vision_config
    return ModelShape(
        hidden_size=text.hidden_size,
        num_hidden_layers=text.num_hidden_layers,
        num_attention_heads=text.num_attention_heads,
        num_key_value_heads=text.num_key_value_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        intermediate_size=text.intermediate_size,
        vocab_size=text.vocab_size,
        rms_norm_eps=text.rms_norm_eps,
        vision_hidden_size=vision.hidden_size,
        vision_depth=vision.num_hidden_layers,
        vision_window=0,
    )


def _check_parts(config: Any) -> None:
    """Refuse models of the same name that are built from other parts, such as LLaVA-Interleave and Pixtral."""
    parts = config.vision_config.model_type, config.text_config.model_type
    if parts != (_TOWER, _LANGUAGE_MODEL):
        raise UnsupportedModelError(
            f"expected a llava model of {_TOWER} and {_LANGUAGE_MODEL}, as LLaVA-1.5 is, found {parts[0]} and "
            f"{parts[1]}; take {_TAKE}"
        )
    layer, strategy = config.vision_feature_layer, config.vision_feature_select_strategy
    if not isinstance(layer, int) or strategy != "default":
        raise UnsupportedModelError(
            "expected visual tokens from one layer of the tower without its class token, as in LLaVA-1.5, found "
            f"vision_feature_layer {layer!r} and vision_feature_select_strategy {strategy!r}; take "
            f"{_TAKE}"
        )


def load_weights(folder: Path, dtype: torch.dtype, device: torch.device, attn_implementation: str) -> Any:
    """Load the stock model; see :class:`~glimpseprune.families.registry.LoadWeights`."""
    return load_stock(LlavaForConditionalGeneration, folder, dtype, device, attn_implementation)


FAMILY = Family(read_config=read_config, read_shape=read_shape, load_weights=load_weights, backbone=Llava)
