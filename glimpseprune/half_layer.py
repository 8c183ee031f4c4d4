"""Layer K in two halves: keys and values of every token before the selection, everything else for the survivors only.

What the glimpse token sees at layer K are keys, and of a token that does not survive nothing is looked at there but its
key and value. So its query, attention and MLP, most of the layer's work, need not be computed; what the survivors get
is the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glimpseprune.backbone import Backbone, Rotary
from glimpseprune.cache import PrefillCache


def enter_layer(backbone: Backbone, layer: int, hidden: Tensor, rotary: Rotary, cache: PrefillCache) -> Tensor:
    """Put the layer's keys and values of all tokens ``[1, T, D]`` into the cache.

    Returns:
        ``[1, T, D]`` for :func:`leave_layer`.
    """
    if not backbone.takes_bias:  # the survivors' attention has gaps, which only a bias can say; so all of the layer
        return backbone.run_layer(layer, hidden, rotary, cache)
    cache.update(*backbone.keys_values(layer, hidden, rotary), layer)
    return hidden


def leave_layer(
    backbone: Backbone, layer: int, entered: Tensor, positions: Tensor, cache: PrefillCache, tokens: Tensor
) -> Tensor:
    """What the layer gives for some of the tokens, ``[1, S, D]``.

    Args:
        backbone: the model.
        layer: K.
        entered: what :func:`enter_layer` gave, ``[1, T, D]``.
        positions: rotary positions ``[axes, T]``.
        cache: holds the layer's keys and values of at least the T tokens.
        tokens: ``[S]``, increasing; each sees the tokens up to itself.
    """
    some = entered.index_select(1, tokens)
    if not backbone.takes_bias:
        return some
    keys, values = cache.keys[layer], cache.values[layer]
    unseen = torch.arange(keys.shape[2], device=tokens.device) > tokens[:, None]
    bias = torch.zeros(unseen.shape, dtype=some.dtype, device=some.device).masked_fill(unseen, float("-inf"))
    rotary = backbone.rotary(positions.index_select(1, tokens)[:, None])
    return backbone.run_layer(layer, some, rotary, _Filled(keys, values), bias=bias[None, None])


class _Filled:
    """A cache that has what a layer would put into it."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys
        self.values = values

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """All keys and values, those of the new tokens among them."""
        return self.keys, self.values
