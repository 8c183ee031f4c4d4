"""Rotary positions of prompts with images, as Qwen2-VL and its successors count them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rope_positions(length: int, slots: Sequence[Tensor], grids: Sequence[tuple[int, int]]) -> Tensor:
    """Rotary positions of one prompt on the axes time, row, column (arXiv 2409.12191, section 2.1): ``[3, T]``.

    Text counts up on all axes. An image starts at the next position p: its tokens have time p, row p + i, column p + j,
    and what follows it starts at p + max(rows, columns).

    Args:
        length: T.
        slots: for each image, the positions of its tokens in the prompt, consecutive and increasing.
        grids: for each image, rows and columns of visual tokens.
    """
    positions = torch.empty(3, length, dtype=torch.long)
    start, following = 0, 0
    for slot, (rows, columns) in zip(slots, grids, strict=True):
        first = int(slot[0])
        positions[:, start:first] = torch.arange(following, following + first - start)
        following += first - start
        end = first + rows * columns
        positions[0, first:end] = following
        positions[1, first:end] = following + torch.arange(rows).repeat_interleave(columns)
        positions[2, first:end] = following + torch.arange(columns).repeat(rows)
        start, following = end, following + max(rows, columns)
    positions[:, start:] = torch.arange(following, following + length - start)
    return positions
