"""Drives the stock language model of a family whose layers are Llama's, one layer at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from glimpseprune.errors import UnsupportedModelError
from glimpseprune.families.base import Cache, CacheGroup, EncodedImage, Prompt, Rotary
from glimpseprune.families.decoder_layer import DecoderLayer, normed, prepared
from glimpseprune.packed_linear import pack_linears


class Decoder:
    """Offers what a :class:`~glimpseprune.families.base.Backbone` needs of a stock language model.

    Args:
        text: stock language model, which computes what it did before; its projections become views of joined ones.
        head: linear layer that makes the logits.

    Raises:
        UnsupportedModelError: the model has sliding-window layers.
    """

    def __init__(self, text: Any, head: Any) -> None:
        self.text, self.head = text, head
        config = text.config
        if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
            raise UnsupportedModelError(
                "expected full attention in every layer, found sliding-window layers; take a checkpoint without "
                "use_sliding_window"
            )
        self.layers = [DecoderLayer(block) for block in text.layers]

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        device: torch.device = self.head.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        dtype: torch.dtype = self.head.weight.dtype
        return dtype

    def pack(self) -> None:
        """Lay the weights out for the matrix kernels of a CPU."""
        for layer in self.layers:
            layer.pack()
        pack_linears(self.text.layers)

    def embed(self, prompt: Prompt, images: Sequence[EncodedImage]) -> Tensor:
        """Embed a prompt: ``[1, T, D]``, with the visual tokens in their places."""
        hidden = self.embed_tokens(prompt.input_ids[None])
        for slots, image in zip(prompt.image_slots, images, strict=True):
            hidden[0, slots] = image.tokens.to(hidden.dtype)
        return hidden

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Embed text tokens: ``[B, T] -> [B, T, D]``."""
        hidden: Tensor = self.text.embed_tokens(input_ids)
        return hidden

    def rotary(self, position_ids: Tensor) -> Rotary:
        """Prepare the rotary embedding of positions in the shape that the stock module takes, for all layers."""
        return prepared(*self.text.rotary_emb(self.head.weight, position_ids))  # it takes type and device from these

    def run_layer(
        self,
        layer: int,
        hidden: Tensor,
        rotary: Rotary,
        cache: Cache | CacheGroup,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Run one decoder layer; see :class:`~glimpseprune.families.base.Backbone`."""
        return self.layers[layer].run(hidden, bias, rotary, cache)

    def keys_values(self, layer: int, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Compute the keys (after rotary) and values of every position, ``[B, H_kv, T, d]`` each."""
        return self.layers[layer].keys_values(hidden, rotary)

    def queries(self, layer: int, hidden: Tensor, rotary: Rotary) -> Tensor:
        """Compute the queries ``[T, H, d]`` of every position, rotated and scaled."""
        block = self.layers[layer]
        queries: Tensor = block.queries(hidden, rotary)[0].transpose(0, 1) * block.attention.scaling
        return queries

    def logits(self, hidden: Tensor) -> Tensor:
        """Apply the final norm and the head: ``[B, D] -> [B, vocab]``, float32."""
        out: Tensor = self.head(normed(self.text.norm, hidden))
        return out.float()


@runtime_checkable
class DrivesDecoder(Protocol):
    """Is what a backbone can be besides: one whose language model is a :class:`Decoder`, which can be trained."""

    decoder: Decoder
