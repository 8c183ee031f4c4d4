"""Computes the attention that each patch of an image receives in a block of the vision tower."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_QUERIES_AT_ONCE = 512  # whose attention to a whole page, in all heads, is in memory at a time


@dataclass(frozen=True, slots=True)
class ReceivedAttention:
    """Holds what a vision tower tells of each visual token, averaged over its patches.

    Attributes:
        received: attention that the token receives in the last block, averaged over heads and summed over queries,
            ``[N]``.
        keys: its key there after rotary, averaged over heads, ``[N, head_dim]``.
        early: the same attention in the first block that attends over the whole image, ``[N]``.
        grid: rows and columns of visual tokens.
        cells: raster indices ``[N]`` of the tokens, increasing.
    """

    received: Tensor
    keys: Tensor
    early: Tensor
    grid: tuple[int, int]
    cells: Tensor


def received_attention(query: Tensor, key: Tensor, ends: Tensor) -> Tensor:
    """Sum the attention that each of P patches receives, averaged over heads, ``[P]``, float32.

    Args:
        query: queries after rotary, ``[P, heads, d]``.
        key: keys after rotary, of the same shape.
        ends: end of each sequence of patches that see one another, behind a leading 0, ``[sequences + 1]``.
    """
    received = torch.zeros(len(key), device=key.device)
    bounds = ends.tolist()
    for first, end in zip(bounds, bounds[1:], strict=False):
        keys = key[first:end].permute(1, 2, 0).float()  # [heads, d, S]
        for start in range(first, end, _QUERIES_AT_ONCE):
            queries = query[start : min(start + _QUERIES_AT_ONCE, end)].transpose(0, 1).float()
            scores = queries @ keys * query.shape[-1] ** -0.5  # [heads, queries, S]
            received[first:end] += scores.softmax(-1).mean(0).sum(0)
    return received
