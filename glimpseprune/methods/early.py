"""Defines the protocol of a method that reduces the visual tokens before the language model sees any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from glimpseprune.received_attention import ReceivedAttention


@dataclass(frozen=True, slots=True)
class Reduced:
    """Holds the visual tokens that the language model gets.

    Attributes:
        places: places of the tokens among the N of the image, ``[count]``, increasing.
        tokens: the tokens, ``[count, D]``, which need not be those that were at these places.
    """

    places: Tensor
    tokens: Tensor


@runtime_checkable
class EarlyMethod(Protocol):
    """Reduces the visual tokens of an image to a given number, for one question, without training.

    Attributes:
        reads_tower: whether the method reads the attention of the vision tower.
    """

    @property
    def reads_tower(self) -> bool: ...  # noqa: D102

    def reduce(self, tokens: Tensor, tower: ReceivedAttention | None, question: Tensor, count: int) -> Reduced:
        """Choose or make ``count`` tokens.

        Args:
            tokens: visual tokens of an image, ``[N, D]``.
            tower: attention that they receive in the vision tower; ``None`` unless the method reads it.
            question: embeddings of the text behind the image, ``[T, D]``.
            count: number of tokens to keep, in 1..N.
        """


def kept(tokens: Tensor, chosen: Tensor) -> Reduced:
    """Keep some tokens as they are.

    Args:
        tokens: visual tokens of an image, ``[N, D]``.
        chosen: places ``[count]`` of those that stay, in any order.
    """
    places = chosen.sort().values
    return Reduced(places, tokens[places])
