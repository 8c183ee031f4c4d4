"""A pruning method in a few lines: it keeps every second visual token and looks at nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import glimpseprune as gp


@dataclass(frozen=True)
class EverySecondToken:
    """Prunes after layer 0; a visual token scores 1 if its number is even, else -1."""

    prune_layer: int = 0
    appended: int = 0
    vision_layers: tuple[int, ...] = ()
    attention_layers: tuple[int, ...] = ()
    raw_attention: bool = True
    rule: gp.KeepRule = gp.KeepRule(threshold=0.5)

    def token_at(self, layer: int) -> Tensor | None:
        return None

    def precompute(self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None) -> Tensor:
        every = torch.arange(grid[0] * grid[1]) if cells is None else cells
        return 1.0 - 2.0 * (every % 2)  # [N]

    def score(self, attention: Tensor, image: Tensor) -> Tensor:
        return image.expand(attention.shape[0], -1)  # [Q, N]

    def precompute_flops(self, visual: int) -> int:
        return 0

    def score_flops(self, visual: int) -> int:
        return 0
