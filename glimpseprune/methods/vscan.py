"""Merges visual tokens before the language model and drops some in the middle of it: VScan (arXiv 2505.22654)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glimpseprune.methods.early import Reduced
from glimpseprune.received_attention import ReceivedAttention

WINDOW = 4  # side of the windows of the local scan, in visual tokens
LEFT = 1 / 3  # share of the tokens before the language model that its only drop leaves


@dataclass(frozen=True)
class GlobalAndLocalScan:
    """Keeps half of the tokens by an early block, window by window, and half by the last block; merges the others.

    This is the first step of VScan, whatever the question. Where no class token is, its code takes the
    attention received from all patches, in the first block that attends over the whole page and in the last block.
    """

    reads_tower: bool = True

    def reduce(self, tokens: Tensor, tower: ReceivedAttention | None, question: Tensor, count: int) -> Reduced:
        """Make ``count`` tokens of ``[N, D]``; see :class:`~glimpseprune.methods.early.EarlyMethod`."""
        if tower is None:
            raise ValueError("expected the attention of the vision tower, found none; read it first")
        stays = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        stays[_best_per_window(tower, count // 2)] = True
        left = tower.received.masked_fill(stays, -torch.inf)
        stays[left.topk(count - int(stays.sum())).indices] = True
        places = stays.nonzero()[:, 0]
        unit = F.normalize(tokens.float(), dim=-1)
        nearest = (unit[~stays] @ unit[places].T).argmax(-1)
        sums = tokens[places].index_add(0, nearest, tokens[~stays])
        return Reduced(places, sums / (1 + nearest.bincount(minlength=count))[:, None])


@dataclass(frozen=True)
class OneDrop:
    """Drops visual tokens once, by the attention of the last prompt token; the second step of VScan.

    Attributes:
        layer: layer before which tokens are dropped.
    """

    layer: int

    @property
    def layers(self) -> tuple[int, ...]:
        """The layer, as the only one."""
        return (self.layer,)

    def counts(self, total: int, count: int) -> list[int]:
        """Return how many of ``total`` tokens stay: ``count``."""
        return [count]


@dataclass(frozen=True)
class VScan:
    """Joins both steps, without training.

    Attributes:
        early: step before the language model.
        staged: step inside it.
    """

    early: GlobalAndLocalScan
    staged: OneDrop

    def first_count(self, total: int, count: int) -> int:
        """Return how many tokens the language model gets, of which ``count`` stay in the end.

        Args:
            total: number of visual tokens.
            count: number of those that stay in the end.
        """
        return min(total, round(count / LEFT))


def _best_per_window(tower: ReceivedAttention, count: int) -> list[int]:
    """Choose tokens by the attention they receive in the early block, about as many in every window.

    What is left over at the right and below belongs to the last windows.

    Args:
        tower: what the tower tells of the tokens.
        count: number of tokens to choose.
    """
    rows, columns = (max(1, side // WINDOW) for side in tower.grid)
    most = math.ceil(count / (rows * columns))
    down = (tower.cells // tower.grid[1] // WINDOW).clamp_max(rows - 1)
    across = (tower.cells % tower.grid[1] // WINDOW).clamp_max(columns - 1)
    windows = (down * columns + across).tolist()
    chosen: list[int] = []
    taken = [0] * (rows * columns)
    for token in tower.early.argsort(descending=True).tolist():
        if len(chosen) < count and taken[windows[token]] < most:
            taken[windows[token]] += 1
            chosen.append(token)
    return chosen
