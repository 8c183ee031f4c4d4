"""Stores keys and values in caches that are no longer than what they hold.

Each offers ``update``, the only cache method that a decoder layer of transformers calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_SLOT_STEP = 64


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
        self.keys.append(keys)
        self.values.append(values)
        return keys, values

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
        keys: keys of each layer run so far, prefix and continuation together, ``[B, H_kv, S + T, d]``.
        values: values of each layer run so far, of the same shape.
    """

    def __init__(self, prefix: PrefillCache | None = None) -> None:
        self.prefix = prefix
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append the new tokens' keys and values ``[1, H_kv, T, d]`` to the prefix's and return both."""
        if self.prefix is not None:
            keys = torch.cat([self.prefix.keys[layer_idx], keys], dim=2)
            values = torch.cat([self.prefix.values[layer_idx], values], dim=2)
        self.keys[layer_idx], self.values[layer_idx] = keys, values
        return keys, values


class PoolCache:
    """Holds the caches of sequences that come and go, side by side: ``[rows, H_kv, slots, d]`` per layer.

    The first B rows are in use. Row b fills its first ``lengths[b]`` slots; all other rows and slots are spare room.
    """

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.lengths: list[int] = []
        self._room: list[int] = []  # slots that each row will need in the end
        self._ends = torch.empty(0, dtype=torch.long)  # the lengths, on the device of the keys

    def add(self, cache: PrefillCache, new_tokens: int) -> None:
        """Move a sequence into the next row, layer by layer, with room for its new tokens.

        Args:
            cache: cache of the sequence; it is empty afterwards.
            new_tokens: number of tokens that will be appended.

        Raises:
            torch.OutOfMemoryError: the device has no room; the sequence's own cache is unchanged.
        """
        self._make_room(len(self.lengths) + 1, cache.tokens + new_tokens, cache)
        row, length = len(self.lengths), cache.tokens
        for layer in range(len(self.keys)):
            self.keys[layer][row, :, :length] = cache.keys.pop(0)[0]
            self.values[layer][row, :, :length] = cache.values.pop(0)[0]
        self.lengths.append(length)
        self._room.append(length + new_tokens)
        self._count()

    def take(self, row: int) -> PrefillCache:
        """Copy a row to host memory, because the device has none to spare."""
        taken = PrefillCache()
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            mine = (slice(row, row + 1), slice(None), slice(0, self.lengths[row]))
            taken.update(keys[mine].to("cpu", copy=True), values[mine].to("cpu", copy=True), layer)
        return taken

    def drop(self, row: int) -> None:
        """Free a row; the last one in use moves there."""
        last = len(self.lengths) - 1
        if row != last:
            length = self.lengths[last]
            for tensor in (*self.keys, *self.values):
                tensor[row, :, :length] = tensor[last, :, :length]
            self.lengths[row], self._room[row] = length, self._room[last]
        self.lengths.pop()
        self._room.pop()
        self._count()

    def trim(self) -> None:
        """Release the rows that are not in use and the slots that no row will need."""
        rows, slots = len(self.lengths), max(self._room, default=0)
        for tensors in (self.keys, self.values):
            for layer in range(len(tensors)):  # one by one, since memory may be short and each replaced tensor is freed
                tensors[layer] = tensors[layer][:rows, :, :slots].clone()

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append one token ``[B, H_kv, 1, d]`` to every sequence and return ``[B, H_kv, longest + 1, d]``."""
        count, slots = len(self.lengths), max(self.lengths) + 1
        rows = torch.arange(count, device=keys.device)
        self.keys[layer_idx][rows, :, self._ends] = keys[:, :, 0]
        self.values[layer_idx][rows, :, self._ends] = values[:, :, 0]
        return self.keys[layer_idx][:count, :, :slots], self.values[layer_idx][:count, :, :slots]

    def advance(self) -> None:
        """Count the token that every layer's ``update`` has written as part of its sequence."""
        self.lengths = [length + 1 for length in self.lengths]
        self._ends = self._ends + 1

    def filled(self) -> Tensor | None:
        """Mark the slots that hold a token after ``update``, ``[B, longest + 1]`` bool; ``None`` if all do."""
        if min(self.lengths) == max(self.lengths):
            return None
        return torch.arange(max(self.lengths) + 1, device=self._ends.device) <= self._ends[:, None]

    @property
    def rows(self) -> int:
        """Number of rows, spare ones included."""
        return self.keys[0].shape[0] if self.keys else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values, spare room included."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    def _make_room(self, rows: int, slots: int, like: PrefillCache) -> None:
        """Grow to at least ``rows`` rows and ``slots`` slots; both grow by more than needed, so this is rare."""
        if not self.keys:
            self.keys = [k.new_zeros(0, k.shape[1], 0, k.shape[3]) for k in like.keys]
            self.values = [v.new_zeros(0, v.shape[1], 0, v.shape[3]) for v in like.values]
        for tensors in (self.keys, self.values):
            # Each is checked by itself, since memory may have run out between two of them.
            for layer, tensor in enumerate(tensors):
                have_rows, heads, have_slots, size = tensor.shape
                if rows <= have_rows and slots <= have_slots:
                    continue
                more_rows = have_rows if rows <= have_rows else max(rows, 2 * have_rows)
                more_slots = have_slots if slots <= have_slots else -(-slots // _SLOT_STEP) * _SLOT_STEP
                grown = tensor.new_zeros(more_rows, heads, more_slots, size)
                grown[:have_rows, :, :have_slots] = tensor
                tensors[layer] = grown

    def _count(self) -> None:
        self._ends = torch.tensor(self.lengths, dtype=torch.long, device=self.keys[0].device)
