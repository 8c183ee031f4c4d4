"""Key/value caches that really are as long as what they hold.

All offer the one method that a decoder layer of transformers calls, ``update``, and nothing else of its cache classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_SLOT_STEP = 64


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

    def offload(self) -> None:
        """Move everything to host memory, layer by layer."""
        for layer in range(len(self.keys)):
            self.keys[layer], self.values[layer] = self.keys[layer].cpu(), self.values[layer].cpu()

    @property
    def tokens(self) -> int:
        """Cached positions, S; the same in every layer."""
        return self.keys[0].shape[2] if self.keys else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


class Continuation:
    """Keys and values of tokens that follow a shared prefix, which stays as it is.

    Args:
        prefix: keys and values before; ``None`` where there is nothing before.

    Attributes:
        keys: keys of each layer run so far, prefix and continuation together, ``[B, H_kv, S + T, d]``.
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


class PoolCache:
    """Caches of several sequences side by side, which come and go: ``[rows, H_kv, slots, d]`` per layer.

    The first B rows are in use, without gaps. Row b holds the slots ``0 .. length[b]``; rows and slots beyond are room.
    """

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.lengths: list[int] = []
        self._room: list[int] = []  # slots that each row will have used in the end
        self._ends = torch.empty(0, dtype=torch.long)  # the lengths, where the keys are

    def add(self, cache: PrefillCache, new_tokens: int) -> None:
        """Copy a sequence into the next row, with room for ``new_tokens``; its own cache is emptied layer by layer.

        Args:
            cache: keys and values.
            new_tokens: tokens that will be appended.

        Raises:
            torch.OutOfMemoryError: there is no room; the sequence's own cache is as it was.
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
        """Give back the rows that are not in use, and the slots that none will use."""
        rows, slots = len(self.lengths), max(self._room, default=0)
        for tensors in (self.keys, self.values):
            for layer in range(len(tensors)):  # one by one: memory may be short, and each that is replaced is freed
                tensors[layer] = tensors[layer][:rows, :, :slots].clone()

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write every sequence's new token ``[B, H_kv, 1, d]`` behind it; return ``[B, H_kv, longest + 1, d]``."""
        count, slots = len(self.lengths), max(self.lengths) + 1
        rows = torch.arange(count, device=keys.device)
        self.keys[layer_idx][rows, :, self._ends] = keys[:, :, 0]
        self.values[layer_idx][rows, :, self._ends] = values[:, :, 0]
        return self.keys[layer_idx][:count, :, :slots], self.values[layer_idx][:count, :, :slots]

    def advance(self) -> None:
        """The token written by every layer's ``update`` now belongs to its sequence."""
        self.lengths = [length + 1 for length in self.lengths]
        self._ends = self._ends + 1

    def filled(self) -> Tensor | None:
        """Which slots hold a token once ``update`` has run, ``[B, longest + 1]`` bool; ``None`` where all do."""
        if min(self.lengths) == max(self.lengths):
            return None
        return torch.arange(max(self.lengths) + 1, device=self._ends.device) <= self._ends[:, None]

    @property
    def rows(self) -> int:
        """Rows in use and rows there is room for."""
        return self.keys[0].shape[0] if self.keys else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values, room included."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    def _make_room(self, rows: int, slots: int, like: PrefillCache) -> None:
        """Grow to so many rows and slots: rows by doubling, slots in steps, so that it happens rarely."""
        if not self.keys:
            self.keys = [k.new_zeros(0, k.shape[1], 0, k.shape[3]) for k in like.keys]
            self.values = [v.new_zeros(0, v.shape[1], 0, v.shape[3]) for v in like.values]
        for tensors in (self.keys, self.values):
            for layer, tensor in enumerate(tensors):  # each by itself: memory may have run out between two of them
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
