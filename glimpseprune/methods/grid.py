"""Keeps an even grid of visual tokens, whatever is on the page: the plainest way to a fixed share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glimpseprune.rule import KeepRule


@dataclass(frozen=True)
class UniformGrid:
    """Scores tokens by their place, so that the best of any number lie evenly, as a method without training.

    The order is that of ordered dithering (Bayer, 1973): every prefix of it is spread over the whole grid.
    """

    prune_layer: int
    appended: int = 0
    vision_layers: tuple[int, ...] = ()
    attention_layers: tuple[int, ...] = ()
    raw_attention: bool = False
    rule: KeepRule = KeepRule(threshold=0.0)

    def token_at(self, layer: int) -> None:
        """Append nothing."""
        return

    def precompute(self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None) -> Tensor:
        """Compute the scores ``[N]`` of the cells, which no question changes."""
        scores = 1.0 - bayer(grid).flatten()
        return scores if cells is None else scores.to(cells.device)[cells]

    def score(self, attention: Tensor, image: Tensor) -> Tensor:
        """Return the same scores ``[Q, N]`` for every question."""
        return image.to(attention.device).expand(attention.shape[0], -1)

    def precompute_flops(self, visual: int) -> int:
        """Count no operations: places are known."""
        return 0

    def score_flops(self, visual: int) -> int:
        """Count no operations."""
        return 0


def bayer(grid: tuple[int, int]) -> Tensor:
    """Compute the thresholds of ordered dithering, ``[rows, columns]`` in 0..1, all different.

    Args:
        grid: rows and columns of visual tokens.
    """
    rows, columns = torch.arange(grid[0])[:, None], torch.arange(grid[1])[None]
    bits = max(1, (max(grid) - 1).bit_length())
    order = torch.zeros(grid, dtype=torch.int64)
    for bit in range(bits):  # the lowest bit of a place weighs most
        row, column = rows >> bit & 1, columns >> bit & 1
        order = order * 4 + (2 * (row ^ column) + row)
    thresholds: Tensor = order / 4**bits
    return thresholds
