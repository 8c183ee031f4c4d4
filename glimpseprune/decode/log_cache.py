"""Stores the keys and values of several questions about one prefix, which is there once.

The cache is a log: first the prefix, then the tokens of all questions in the order in which they are computed. A token
sees the prefix and the tokens of its own question.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.cache import joined

_SHARED, _NOBODY = -1, -2  # owners of the prefix, which every question sees, and of slots without a token
_STEP = 8  # kernels for CUDA copy a bias whose rows are not this well aligned


class LogCache:
    """Stores the keys and values of a growing log, ``[1, 2 * H_kv, capacity, d]`` per layer, keys first.

    Args:
        shared: number of tokens of the prefix, which comes first.
        capacity: largest number of tokens in the log, which is rounded up.
        device: device of the model.

    Attributes:
        end: number of tokens in the log.
    """

    def __init__(self, shared: int, capacity: int, device: torch.device) -> None:
        self.capacity = -(-capacity // _STEP) * _STEP
        self.end = 0
        self.layers: list[Tensor] = []
        self._owner = torch.full((self.capacity,), _NOBODY, device=device)  # question of each token
        self._owner[:shared] = _SHARED
        self._slots: Tensor | None = None  # of the next tokens; None for those behind the end
        self._seen = 0  # slots that the next tokens see, if it is said where they go

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values ``[1, H_kv, T, d]``, and return what :meth:`append` does."""
        return self.append(joined(keys, values), layer_idx)

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Store the next tokens' keys and values ``[1, T, 2 * H_kv, d]``, and return those of all seen slots."""
        _, count, heads, size = both.shape
        if layer_idx == len(self.layers):
            self.layers.append(both.new_zeros(1, heads, self.capacity, size))
        layer = self.layers[layer_idx]
        if self._slots is None:
            seen = self.end + count
            layer[:, :, self.end : seen] = both.transpose(1, 2)
        else:
            seen = self._seen
            layer.index_copy_(2, self._slots, both.transpose(1, 2))
        keys, values = layer[:, :, :seen].chunk(2, dim=1)
        return keys, values

    def look(self, slots: Tensor, seen: int) -> None:
        """Say where the next tokens go and how many slots they see.

        Args:
            slots: slots ``[T]`` of the next tokens, read at every :meth:`append`.
            seen: number of slots that are seen, these included.
        """
        self._slots, self._seen = slots, seen

    def bias_behind(self, whose: Tensor, like: Tensor) -> Tensor:
        """Make the bias ``[1, 1, T, S]`` of T tokens that come behind the end, in the type of ``like``.

        Args:
            whose: question of each token, ``[T]``.
            like: tensor of the type.
        """
        end = self.end + len(whose)
        self._owner[self.end : end] = whose
        slots = torch.arange(end, device=whose.device)
        hidden = self._of_others(whose, end).logical_or_(slots > slots[self.end :, None])
        return like.new_zeros(hidden.shape).masked_fill_(hidden, float("-inf"))[None, None]

    def bias(self, whose: Tensor, like: Tensor) -> Tensor:
        """Make the bias ``[1, 1, T, S]`` of T tokens of different questions, which go where :meth:`look` says.

        Args:
            whose: question of each token, ``[T]``.
            like: tensor of the type.

        Raises:
            RuntimeError: nothing was said yet.
        """
        if self._slots is None:
            raise RuntimeError("expected look() before bias(), found no call; say first what is seen")
        self._owner.index_copy_(0, self._slots, whose)
        hidden = self._of_others(whose, self._seen)
        return like.new_zeros(hidden.shape).masked_fill_(hidden, float("-inf"))[None, None]

    def advance(self, tokens: int) -> None:
        """Make the tokens that every layer has appended a lasting part of the log."""
        self.end += tokens

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values, room for new tokens included."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return self.nbytes // self.capacity

    def _of_others(self, whose: Tensor, seen: int) -> Tensor:
        """Mark the slots that hold no token of the prefix or of the question, bool ``[T, seen]``."""
        owner = self._owner[:seen]
        return (owner != whose[:, None]).logical_and_(owner != _SHARED)
