"""Counts rotary positions of prompts with images, as Qwen2-VL and its successors do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rope_positions(length: int, slots: Sequence[Tensor], grids: Sequence[tuple[int, int]]) -> Tensor:
    """Count the rotary positions ``[3, T]`` of one prompt: time, row, column (arXiv 2409.12191, section 2.1).

    Text counts up on all axes. An image starts at the next position p; its token in row i and column j gets time p, row
    p + i and column p + j. The text behind it goes on at p + max(rows, columns).

    Args:
        length: number of tokens T of the prompt.
        slots: positions of each image's tokens in the prompt, consecutive and increasing.
        grids: rows and columns of visual tokens of each image.
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
