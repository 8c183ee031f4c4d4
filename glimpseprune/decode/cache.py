"""Stores keys and values in caches that are no longer than what they hold.

Each offers ``update``, the only cache method that a decoder layer of transformers calls, and ``append``, which takes
keys and values as one tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def joined(keys: Tensor, values: Tensor) -> Tensor:
    """Join keys and values ``[B, H_kv, T, d]`` for ``append``: ``[B, T, 2 * H_kv, d]``."""
    return torch.cat([keys, values], dim=1).transpose(1, 2)


def apart(both: Tensor) -> tuple[Tensor, Tensor]:
    """Take keys and values ``[B, H_kv, T, d]`` from what ``append`` gets; they are views."""
    keys, values = both.transpose(1, 2).chunk(2, dim=1)
    return keys, values


class PrefillCache:
    """Holds the keys and values of one sequence, ``[1, H_kv, S, d]`` per layer, keys after rotary."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the keys and values of one layer; the layers call this in order, once each."""
        if layer_idx != len(self.keys):
            raise IndexError(
                f"expected layer {len(self.keys)}, found layer {layer_idx}; run the layers in order, once each, or "
                "take a new cache"
            )
        # Copies, since the cache lasts long, and a view would keep the queries too.
        self.keys.append(keys.contiguous())
        self.values.append(values.contiguous())
        return self.keys[-1], self.values[-1]

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Store joined keys and values ``[1, S, 2 * H_kv, d]``."""
        return self.update(*apart(both), layer_idx)

    def keep(self, index: Tensor) -> None:
        """Keep the slots ``index`` (``[S']``, increasing) of every layer so far and release the old tensors."""
        for layer in range(len(self.keys)):
            self.keys[layer] = self.keys[layer].index_select(2, index)
            self.values[layer] = self.values[layer].index_select(2, index)

    def offload(self) -> None:
        """Move everything to host memory, layer by layer."""
        for layer in range(len(self.keys)):
            self.keys[layer], self.values[layer] = self.keys[layer].cpu(), self.values[layer].cpu()

    @property
    def tokens(self) -> int:
        """Number of cached tokens S, the same in every layer."""
        return self.keys[0].shape[2] if self.keys else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


class Continuation:
    """Holds the keys and values of tokens behind a shared prefix, which it does not change.

    Args:
        prefix: cache of the prefix; ``None`` without one.

    Attributes:
        keys: keys of the continuation alone, of each layer run so far, ``[B, H_kv, T, d]``.
        values: values of each layer run so far, of the same shape.
    """

    def __init__(self, prefix: PrefillCache | None = None) -> None:
        self.prefix = prefix
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values ``[1, H_kv, T, d]``, and return them behind the prefix's."""
        self.keys[layer_idx], self.values[layer_idx] = keys.contiguous(), values.contiguous()
        if self.prefix is None:
            return self.keys[layer_idx], self.values[layer_idx]
        # Not stored: while the layer attends, a copy of the prefix is in memory, and never those of all layers.
        keys = torch.cat([self.prefix.keys[layer_idx], keys], dim=2)
        return keys, torch.cat([self.prefix.values[layer_idx], values], dim=2)

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Append joined keys and values ``[1, T, 2 * H_kv, d]``."""
        return self.update(*apart(both), layer_idx)
