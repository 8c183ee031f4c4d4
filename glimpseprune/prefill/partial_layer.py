"""Layers of which most tokens need the keys and values only, and not the query, the attention and the MLP.

At layer K, what the glimpse token sees are keys, and of a token that does not survive nothing is looked at but its key
and value: so it is entered by all and left by the survivors. After the last layer come the logits of each sequence's
last token, and nothing else. What is looked at is the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.families.base import Backbone, Cache, Rotary, run_layers


def enter_layer(backbone: Backbone, layer: int, hidden: Tensor, rotary: Rotary, cache: PrefillCache) -> Tensor:
    """Put the layer's keys and values of all tokens ``[1, T, D]`` into the cache.

    Args:
        backbone: the model.
        layer: number of the layer.
        hidden: hidden states ``[1, T, D]``.
        rotary: rotary cosines and sines of the tokens.
        cache: keys and values.

    Returns:
        ``[1, T, D]`` for :func:`leave_layer`.
    """
    if (
        not backbone.supports_attention_bias
    ):  # the survivors' attention has gaps, which only a bias can say; so all of the layer
        return backbone.run_layer(layer, hidden, rotary, cache)
    cache.update(*backbone.keys_values(layer, hidden, rotary), layer)
    return hidden


def leave_layer(
    backbone: Backbone, layer: int, entered: Tensor, positions: Tensor, cache: PrefillCache, tokens: Tensor
) -> Tensor:
    """Run the rest of the layer for some of the tokens: ``[1, S, D]``.

    Args:
        backbone: the model.
        layer: K.
        entered: what :func:`enter_layer` gave, ``[1, T, D]``.
        positions: rotary positions ``[axes, T]``.
        cache: holds the layer's keys and values of at least the T tokens.
        tokens: ``[S]``, increasing; each sees the tokens up to itself.
    """
    some = entered.index_select(1, tokens)
    if not backbone.supports_attention_bias:
        return some
    keys, values = cache.keys[layer], cache.values[layer]
    unseen = torch.arange(keys.shape[2], device=tokens.device) > tokens[:, None]
    bias = torch.zeros(unseen.shape, dtype=some.dtype, device=some.device).masked_fill(unseen, float("-inf"))
    rotary = backbone.rotary(positions.index_select(1, tokens)[:, None])
    return backbone.run_layer(layer, some, rotary, _Filled(keys, values), bias=bias[None, None])


def run_to_end(backbone: Backbone, first: int, hidden: Tensor, rotary: Rotary, cache: Cache, ends: Tensor) -> Tensor:
    """The layers from ``first`` on over sequences whose last token alone is asked for its logits.

    Args:
        backbone: the model.
        first: a layer; where there is none of that number, nothing is run.
        hidden: ``[B, T, D]``, causal, padded at the right if at all.
        rotary: rotary cosines and sines of the same positions.
        cache: fresh; gets the keys and values of all tokens.
        ends: ``[B]`` place of each sequence's last token.

    Returns:
        ``[B, D]`` of the last tokens.
    """
    last = backbone.num_layers - 1
    hidden = run_layers(backbone, range(first, last), hidden, rotary, cache)
    rows = torch.arange(hidden.shape[0], device=hidden.device)
    if first > last:
        return hidden[rows, ends]
    keys, values = cache.update(*backbone.keys_values(last, hidden, rotary), last)
    places = torch.arange(hidden.shape[1], device=hidden.device)
    filled = places <= ends[:, None] if hidden.shape[0] > 1 else None
    turned = rotary[0][rows, ends][:, None], rotary[1][rows, ends][:, None]
    return backbone.run_layer(last, hidden[rows, ends][:, None], turned, _Filled(keys, values), filled)[:, 0]


class _Filled:
    """A cache that has what a layer would put into it."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys
        self.values = values

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """All keys and values, those of the new tokens among them."""
        return self.keys, self.values
