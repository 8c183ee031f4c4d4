"""Stores the keys and values of sequences that come and go, side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache, joined

_SLOT_STEP = 64
_SEEN_STEP = 8  # kernels for CUDA copy a mask whose rows are not this well aligned
_FIXED_STEP = 256  # few sizes of what is seen: a CUDA graph is for one of them


class PoolCache:
    """Holds the caches of sequences that come and go, side by side: ``[rows, 2 * H_kv, slots, d]`` per layer.

    The first half of the heads are keys, the second values. The first B rows are in use. Row b fills its first
    ``lengths[b]`` slots; all other rows and slots are spare room.

    Attributes:
        lengths: number of tokens of each row in use.
        replaced: number of times that the tensors were replaced by larger or smaller ones.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.replaced = 0
        self._room: list[int] = []  # slots that each row will need in the end
        self._layers: list[Tensor] = []
        self._numbers: Tensor | None = None  # from 0; graphs hold on to it as they do to the layers
        # Prepared for all layers, and for all steps until a row comes or goes, or more slots are seen:
        self._ends: Tensor | None = None
        self._slots = 0
        self._places: tuple[Tensor, Tensor, Tensor] | None = None  # of the next tokens: rows, heads, slots
        self._seen: list[tuple[Tensor, ...]] = []  # keys and values per layer

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
        self.replaced += 1
        rows, slots = len(self.lengths), -(-max(self._room, default=0) // _SEEN_STEP) * _SEEN_STEP
        for number, layer in enumerate(self._layers):  # one by one: memory may be short, and each old one is freed
            self._layers[number] = layer[:rows, :, :slots].clone()

    def look(self, ends: Tensor, slots: int) -> None:
        """Say where the next tokens go and how many slots they see; as long as both stay, this costs nothing.

        Args:
            ends: slot of the next token of each of the first rows, ``[rows]``. It is read at every :meth:`append`, so
                that whoever advances it in place can repeat a step.
            slots: number of slots that are seen, those of the next tokens included.
        """
        if ends is self._ends and slots == self._slots:
            return
        rows, heads = len(ends), self._layers[0].shape[1]
        if ends is not self._ends:
            numbers = self._counted()
            self._places = numbers[:rows, None, None], numbers[:heads], ends[:, None, None]
        self._ends, self._slots = ends, slots
        self._seen = [layer[:rows, :, :slots].chunk(2, dim=1) for layer in self._layers]

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store one token ``[rows, H_kv, 1, d]`` per sequence, and return what :meth:`append` does."""
        return self.append(joined(keys, values), layer_idx)

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Store one token ``[rows, 1, 2 * H_kv, d]`` per sequence, and return the seen slots ``[rows, H_kv, S, d]``.

        :meth:`bias` hides those of them that hold no token of the row.
        """
        self._layers[layer_idx].index_put_(self._places, both)
        keys, values = self._seen[layer_idx]
        return keys, values

    def bias(self, like: Tensor) -> Tensor:
        """Make the bias ``[rows, 1, 1, S]`` of the seen slots: minus infinity behind the next token of each row.

        Args:
            like: tensor of the type that the bias takes.

        Raises:
            RuntimeError: nothing was said yet of what is seen.
        """
        if self._ends is None:
            raise RuntimeError("expected look() before bias(), found no call; say first what is seen")
        behind = self._counted()[: self._slots] > self._ends.view(-1, 1, 1, 1)
        return like.new_zeros(behind.shape).masked_fill_(behind, float("-inf"))

    def advance(self, tokens: int = 1) -> None:
        """Count the tokens that every layer has appended as part of the sequences."""
        self.lengths = [length + tokens for length in self.lengths]

    @property
    def equal(self) -> bool:
        """Whether all rows in use hold the same number of tokens."""
        return min(self.lengths) == max(self.lengths)

    @property
    def needed_slots(self) -> int:
        """Number of slots that the next token has to see: no more than are filled, where no bias is needed."""
        longest = max(self.lengths) + 1
        if self.equal:
            return longest
        return min(-(-longest // _SEEN_STEP) * _SEEN_STEP, self._layers[0].shape[2])

    @property
    def fixed_slots(self) -> int:
        """Number of slots that suffices until a row comes or goes."""
        return min(-(-max(self._room) // _FIXED_STEP) * _FIXED_STEP, self._layers[0].shape[2])

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
            self.replaced += 1
            more_rows = have_rows if rows <= have_rows else max(rows, 2 * have_rows)
            more_slots = have_slots if slots <= have_slots else -(-slots // _SLOT_STEP) * _SLOT_STEP
            grown = layer.new_zeros(more_rows, heads, more_slots, size)
            grown[:have_rows, :, :have_slots] = layer
            self._layers[number] = grown

    def _changed(self) -> None:
        """Forget what was prepared, which would also keep replaced tensors in memory."""
        self._ends, self._places, self._seen = None, None, []

    def _counted(self) -> Tensor:
        """Count rows, heads or slots: numbers from 0, as many as the largest of these sizes."""
        largest = max(self._layers[0].shape[:3])
        if self._numbers is None or len(self._numbers) < largest:
            self._numbers = torch.arange(largest, device=self._layers[0].device)
        return self._numbers
