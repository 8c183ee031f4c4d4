"""Stores keys and values in caches that are no longer than what they hold.

Each offers ``update``, the only cache method that a decoder layer of transformers calls, and ``append``, which takes
keys and values as one tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_SLOT_STEP = 64
_SEEN_STEP = 8  # kernels for CUDA copy a mask whose rows are not this well aligned


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


class PoolCache:
    """Holds the caches of sequences that come and go, side by side: ``[rows, 2 * H_kv, slots, d]`` per layer.

    The first half of the heads are keys, the second values. The first B rows are in use. Row b fills its first
    ``lengths[b]`` slots; all other rows and slots are spare room.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._room: list[int] = []  # slots that each row will need in the end
        self._layers: list[Tensor] = []
        # Prepared for all layers, and for all steps until a row comes or goes:
        self._places: tuple[Tensor, Tensor, Tensor] | None = None  # of the next tokens: rows, heads, slots
        self._seen: list[tuple[Tensor, ...]] = []  # keys and values per layer, while the number of slots is the same

    def add(self, cache: PrefillCache, new_tokens: int) -> None:
        """Move a sequence into the next row, layer by layer, with room for its new tokens.

        Args:
            cache: cache of the sequence; it is empty afterwards.
            new_tokens: number of tokens that will be appended.

        Raises:
            torch.OutOfMemoryError: the device has no room; the sequence's own cache is unchanged.
        """
        self._changed()
        self._make_room(len(self.lengths) + 1, cache.tokens + new_tokens, cache)
        row, length = len(self.lengths), cache.tokens
        for layer in self._layers:
            keys, values = layer[row, :, :length].chunk(2)
            keys.copy_(cache.keys.pop(0)[0])  # which may be in host memory
            values.copy_(cache.values.pop(0)[0])
        self.lengths.append(length)
        self._room.append(length + new_tokens)

    def take(self, row: int) -> PrefillCache:
        """Copy a row to host memory, because the device has none to spare."""
        taken = PrefillCache()
        for number, layer in enumerate(self._layers):
            keys, values = layer[row : row + 1, :, : self.lengths[row]].to("cpu", copy=True).chunk(2, dim=1)
            taken.update(keys, values, number)
        return taken

    def drop(self, row: int) -> None:
        """Free a row; the last one in use moves there."""
        self._changed()
        last = len(self.lengths) - 1
        if row != last:
            length = self.lengths[last]
            for layer in self._layers:
                layer[row, :, :length] = layer[last, :, :length]
            self.lengths[row], self._room[row] = length, self._room[last]
        self.lengths.pop()
        self._room.pop()

    def trim(self) -> None:
        """Release the rows that are not in use and the slots that no row will need."""
        self._changed()
        rows, slots = len(self.lengths), max(self._room, default=0)
        for number, layer in enumerate(self._layers):  # one by one: memory may be short, and each old one is freed
            self._layers[number] = layer[:rows, :, :slots].clone()

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store one token ``[B, H_kv, 1, d]`` per sequence, and return what :meth:`append` does."""
        return self.append(joined(keys, values), layer_idx)

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Store one token ``[B, 1, 2 * H_kv, d]`` per sequence, and return all slots ``[B, H_kv, S, d]`` up to it.

        The slots that hold a token are those of :meth:`filled`.
        """
        if not self._seen:
            count, slots = len(self.lengths), self._slots()
            self._seen = [layer[:count, :, :slots].chunk(2, dim=1) for layer in self._layers]
        self._layers[layer_idx].index_put_(self._next(), both)
        keys, values = self._seen[layer_idx]
        return keys, values

    def advance(self) -> None:
        """Count the token that every layer has appended as part of its sequence."""
        before = self._slots()
        rows, heads, ends = self._next()
        self._places = rows, heads, ends + 1
        self.lengths = [length + 1 for length in self.lengths]
        if self._slots() != before:
            self._seen = []

    def filled(self) -> Tensor | None:
        """Mark the slots that hold a token after ``append``, bool ``[B, S]``; ``None`` if all do."""
        if min(self.lengths) == max(self.lengths):
            return None
        ends = self._next()[2]
        return torch.arange(self._slots(), device=ends.device) <= ends[:, 0]

    @property
    def rows(self) -> int:
        """Number of rows, spare ones included."""
        return self._layers[0].shape[0] if self._layers else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values, spare room included."""
        return sum(layer.nbytes for layer in self._layers)

    def _make_room(self, rows: int, slots: int, like: PrefillCache) -> None:
        """Grow to at least ``rows`` rows and ``slots`` slots; both grow by more than needed, so this is rare."""
        if not self._layers:
            self._layers = [k.new_zeros(0, 2 * k.shape[1], 0, k.shape[3]) for k in like.keys]
        # Each is checked by itself, since memory may have run out between two of them.
        for number, layer in enumerate(self._layers):
            have_rows, heads, have_slots, size = layer.shape
            if rows <= have_rows and slots <= have_slots:
                continue
            more_rows = have_rows if rows <= have_rows else max(rows, 2 * have_rows)
            more_slots = have_slots if slots <= have_slots else -(-slots // _SLOT_STEP) * _SLOT_STEP
            grown = layer.new_zeros(more_rows, heads, more_slots, size)
            grown[:have_rows, :, :have_slots] = layer
            self._layers[number] = grown

    def _slots(self) -> int:
        """Number of slots S that the next token sees: no more than are filled, where no mask is needed."""
        longest = max(self.lengths) + 1
        if min(self.lengths) == longest - 1:
            return longest
        return min(-(-longest // _SEEN_STEP) * _SEEN_STEP, self._layers[0].shape[2])

    def _next(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._places is None:
            device = self._layers[0].device
            self._places = (
                torch.arange(len(self.lengths), device=device)[:, None, None],
                torch.arange(self._layers[0].shape[1], device=device),
                torch.tensor(self.lengths, device=device)[:, None, None],
            )
        return self._places

    def _changed(self) -> None:
        """Forget what was prepared, which would also keep replaced tensors in memory."""
        self._places, self._seen = None, []
