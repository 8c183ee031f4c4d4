"""Key/value caches that really are as long as what they hold.

Both offer the one method that a decoder layer of transformers calls, ``update``, and nothing else of its cache classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class PrefillCache:
    """The cache of one sequence: per layer, keys and values ``[1, H_kv, S, d]``, keys after rotary."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the keys and values of one layer, which the layers call in order, once each."""
        if layer_idx != len(self.keys):
            raise IndexError(f"prefill fills layers in order: expected layer {len(self.keys)}, got {layer_idx}")
        self.keys.append(keys)
        self.values.append(values)
        return keys, values

    def keep(self, index: Tensor) -> None:
        """Keep the slots ``index`` (``[S']``, increasing) of every layer so far; the old tensors are released."""
        for layer in range(len(self.keys)):
            self.keys[layer] = self.keys[layer].index_select(2, index)
            self.values[layer] = self.values[layer].index_select(2, index)

    @property
    def tokens(self) -> int:
        """Cached positions, S; the same in every layer."""
        return self.keys[0].shape[2] if self.keys else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


class Continuation:
    """What is run after a shared prefix: its tokens see the prefix and themselves, and the prefix stays as it is.

    Args:
        prefix: keys and values before; ``None`` where there is nothing before.

    Attributes:
        keys: of each layer run so far, prefix and continuation together, ``[B, H_kv, S + T, d]``.
        values: likewise.
    """

    def __init__(self, prefix: PrefillCache | None = None) -> None:
        self.prefix = prefix
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put the new tokens' keys and values ``[1, H_kv, T, d]`` behind the prefix's; return both."""
        if self.prefix is not None:
            keys = torch.cat([self.prefix.keys[layer_idx], keys], dim=2)
            values = torch.cat([self.prefix.values[layer_idx], values], dim=2)
        self.keys[layer_idx], self.values[layer_idx] = keys, values
        return keys, values


class DecodeCache:
    """Caches of several sequences side by side, aligned at the right: ``[B, H_kv, S + new, d]`` per layer.

    Sequence b occupies the slots ``start[b] .. end``; the next token of every sequence goes to slot ``end``.

    Args:
        caches: the sequences' caches, of any lengths. They are emptied layer by layer as they move here, so that at no
            time two copies of everything exist.
        new_tokens: how many tokens will be appended at most.
    """

    def __init__(self, caches: Sequence[PrefillCache], new_tokens: int) -> None:
        lengths = [cache.tokens for cache in caches]
        self.end = max(lengths)
        self.start = torch.tensor([self.end - length for length in lengths], device=caches[0].keys[0].device)
        self.padded = min(lengths) != self.end
        self.keys, self.values = [], []
        for _ in range(len(caches[0].keys)):
            self.keys.append(self._align([cache.keys.pop(0) for cache in caches], new_tokens))
            self.values.append(self._align([cache.values.pop(0) for cache in caches], new_tokens))

    def _align(self, tensors: list[Tensor], new_tokens: int) -> Tensor:
        _, heads, _, dim = tensors[0].shape
        out = tensors[0].new_zeros(len(tensors), heads, self.end + new_tokens, dim)
        for row, tensor in enumerate(tensors):
            out[row, :, self.end - tensor.shape[2] : self.end] = tensor[0]
        return out

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new token's keys and values ``[B, H_kv, 1, d]``; return all slots ``[B, H_kv, end + 1, d]``."""
        self.keys[layer_idx][:, :, self.end] = keys[:, :, 0]
        self.values[layer_idx][:, :, self.end] = values[:, :, 0]
        return self.keys[layer_idx][:, :, : self.end + 1], self.values[layer_idx][:, :, : self.end + 1]

    def advance(self) -> None:
        """The token written by every layer's ``update`` now belongs to the cache."""
        self.end += 1

    def filled(self) -> Tensor | None:
        """Which of the slots ``0 .. end`` hold a token, ``[B, end + 1]`` bool; ``None`` where all do."""
        if not self.padded:
            return None
        return torch.arange(self.end + 1, device=self.start.device) >= self.start[:, None]

    def drop(self, rows: Tensor) -> None:
        """Keep only the sequences ``rows`` (``[B']``)."""
        self.start = self.start[rows]
        self.keys = [tensor[rows] for tensor in self.keys]
        self.values = [tensor[rows] for tensor in self.values]
