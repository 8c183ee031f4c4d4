"""Runs layers partially: all tokens compute keys and values, but only some run attention and MLP.

The glimpse token needs only the keys of layer K. All tokens therefore compute keys and values there (they enter the
layer), and only survivors run attention and MLP (they leave it). In the last layer, only the last token of each
sequence leaves, since only its logits are used. The results are those of whole layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.families.base import Backbone, Cache, DeepFeatures, Rotary, run_layers


def enter_layer(backbone: Backbone, layer: int, hidden: Tensor, rotary: Rotary, cache: PrefillCache) -> None:
    """Store the keys and values of all tokens at a layer; :func:`leave_layer` runs the rest.

    Args:
        backbone: backbone of the model.
        layer: number of the layer.
        hidden: input of the layer, ``[1, T, D]``.
        rotary: cosines and sines of the T positions.
        cache: cache for the keys and values.
    """
    cache.update(*backbone.keys_values(layer, hidden, rotary), layer)


def leave_layer(
    backbone: Backbone, layer: int, entered: Tensor, positions: Tensor, cache: PrefillCache, tokens: Tensor
) -> Tensor:
    """Run the rest of a layer for some of its tokens: ``[1, T, D] -> [1, S, D]``.

    Args:
        backbone: backbone of the model.
        layer: number of the layer.
        entered: input of the layer that has entered it, ``[1, T, D]``.
        positions: rotary positions ``[axes, T]``.
        cache: cache with the layer's keys and values of at least the T tokens.
        tokens: places ``[S]`` of the tokens that go on, increasing; each sees the tokens up to itself.
    """
    some = entered.index_select(1, tokens)
    keys, values = cache.keys[layer], cache.values[layer]
    unseen = torch.arange(keys.shape[2], device=tokens.device) > tokens[:, None]
    bias = torch.zeros(unseen.shape, dtype=some.dtype, device=some.device).masked_fill(unseen, float("-inf"))
    rotary = backbone.rotary(positions.index_select(1, tokens)[:, None])
    return backbone.run_layer(layer, some, rotary, _Filled(keys, values), bias=bias[None, None])


def run_to_end(
    backbone: Backbone,
    first: int,
    hidden: Tensor,
    rotary: Rotary,
    cache: Cache,
    ends: Tensor,
    deep: DeepFeatures | None = None,
) -> Tensor:
    """Run the layers from ``first`` to the end, the last one only for the last token of each sequence.

    Args:
        backbone: backbone of the model.
        first: number of the first layer; the number of layers, if none is left to run.
        hidden: input of layer ``first``, ``[B, T, D]``, padded on the right.
        rotary: cosines and sines of the T positions.
        cache: cache without these layers, filled with the keys and values of all tokens.
        ends: place ``[B]`` of each sequence's last token.
        deep: deep features of the only prompt, where ``first`` is 0; ``None`` for none.

    Returns:
        Hidden states ``[B, D]`` of the last tokens.
    """
    last = backbone.num_layers - 1
    hidden = run_layers(backbone, range(first, last), hidden, rotary, cache, deep=deep)
    rows = torch.arange(hidden.shape[0], device=hidden.device)
    if first > last:
        return hidden[rows, ends]
    keys, values = cache.update(*backbone.keys_values(last, hidden, rotary), last)
    places = torch.arange(hidden.shape[1], device=hidden.device)
    bias = None
    if hidden.shape[0] > 1:
        bias = hidden.new_zeros(hidden.shape[:2]).masked_fill_(places > ends[:, None], float("-inf"))[:, None, None]
    turned = rotary[0][rows, ends][:, None], rotary[1][rows, ends][:, None]
    return backbone.run_layer(last, hidden[rows, ends][:, None], turned, _Filled(keys, values), bias)[:, 0]


class _Filled:
    """Stands in for a cache that already holds the keys and values of the new tokens."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys
        self.values = values

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return all stored keys and values, and ignore the new ones, which are among them."""
        return self.keys, self.values

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Do the same."""
        return self.keys, self.values
