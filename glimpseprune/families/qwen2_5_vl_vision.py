"""Drives the vision tower of Qwen2.5-VL block by block, over all visual tokens or some.

A visual token that is left out takes part in no block. The others keep their rotary positions and their windows.
Windows then hold fewer patches, and the blocks with full attention see only the patches that are present.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from glimpseprune.families.decoder_layer import normed
from glimpseprune.families.tower_attention import Sequences
from glimpseprune.grid import grid_windows, renumbered
from glimpseprune.received_attention import ReceivedAttention, received_attention
from glimpseprune.row_sizes import linear

Attend = Callable[[Tensor, Tensor, Tensor, Sequences], Tensor]
"""Attention of a block, as :class:`~glimpseprune.families.tower_attention.TowerAttention` computes it."""


def run_tower(
    vision: Any,
    pixels: Tensor,
    grid: tuple[int, int],
    cells: Tensor,
    layers: Collection[int],
    attention: Attend,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Run the modules of the stock tower on the patches of some visual tokens.

    Args:
        vision: stock vision tower.
        pixels: patches ``[patches, patch_dim]`` of the whole image, those of a visual token together, tokens in
            raster order.
        grid: rows and columns of visual tokens.
        cells: raster indices ``[N]`` of the visual tokens to run, increasing.
        layers: numbers of the blocks whose output is returned.
        attention: attention of all blocks.

    Returns:
        Visual tokens ``[N, D]`` in raster order, and the output of each chosen block, averaged over the patches of a
        token, ``[N, vision_hidden_size]``.
    """
    merge = int(vision.spatial_merge_size)
    area = merge**2
    windows = _windows(vision, grid, cells)
    order = windows[windows >= 0]  # window by window, the order that the blocks expect
    raster = order.argsort()
    inside, whole = _sequences(windows, cells.numel(), area)

    patches = pixels.view(-1, area, pixels.shape[-1])[cells[order]].flatten(0, 1)
    # The patch embedding is a convolution with stride = kernel; as a matrix product it is several times as fast.
    hidden = linear(patches.to(vision.patch_embed.proj.weight.dtype), vision.patch_embed.proj.weight.flatten(1))
    rotary = vision.rotary_pos_emb(hidden, _patch_positions(cells[order], grid, merge))
    outputs = {}
    for number, block in enumerate(vision.blocks):
        sequences = whole if number in vision.fullatt_block_indexes else inside
        hidden = _run_block(block, hidden, rotary, sequences, attention)
        if number in layers:
            outputs[number] = hidden.view(len(order), area, -1).mean(1)[raster]
    return vision.merger(hidden)[raster], outputs


def tower_attention(
    vision: Any, pixels: Tensor, grid: tuple[int, int], cells: Tensor, attention: Attend
) -> ReceivedAttention:
    """Run the tower once more, and compute the attention that each visual token receives in two of its blocks.

    Args:
        vision: stock vision tower.
        pixels: patches ``[patches, patch_dim]`` of the whole image, as of :func:`run_tower`.
        grid: rows and columns of visual tokens.
        cells: raster indices ``[N]`` of the visual tokens to run, increasing.
        attention: attention of all blocks.
    """
    first, last = min(vision.fullatt_block_indexes), len(vision.blocks) - 1
    found: dict[int, tuple[Tensor, Tensor]] = {}  # what patches receive in a block, and their keys
    blocks = iter(range(len(vision.blocks)))

    def recorded(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences) -> Tensor:
        number = next(blocks)
        if number in (first, last):
            found[number] = received_attention(query, key, sequences.ends), key
        return attention(query, key, value, sequences)

    run_tower(vision, pixels, grid, cells, (), recorded)
    windows = _windows(vision, grid, cells)
    raster = windows[windows >= 0].argsort()
    received, early = (found[number][0].view(cells.numel(), -1).mean(1)[raster] for number in (last, first))
    key = found[last][1].float().mean(1)
    return ReceivedAttention(received, key.view(cells.numel(), -1, key.shape[-1]).mean(1)[raster], early, grid, cells)


def _windows(vision: Any, grid: tuple[int, int], cells: Tensor) -> Tensor:
    """Divide the tokens that are present into the tower's windows, ``[windows, W]``, -1 for none."""
    side = int(vision.window_size) // int(vision.spatial_merge_size) // int(vision.patch_size)
    return renumbered(grid_windows(grid, side, cells.device), cells, grid)


def _sequences(windows: Tensor, tokens: int, area: int) -> tuple[Sequences, Sequences]:
    """Divide the patches, in the order of the blocks, into those of each window; and take the whole image as one.

    Args:
        windows: tokens of each window, ``[windows, W]``, -1 for none.
        tokens: number of tokens in all windows.
        area: number of patches of a token.
    """
    inside = windows >= 0
    sizes = inside.sum(1)
    ends = F.pad(sizes[sizes > 0].cumsum(0), (1, 0)).to(torch.int32) * area
    first = (inside.flatten().cumsum(0) - 1).view_as(windows)[..., None] * area
    patches = torch.where(inside[..., None], first + torch.arange(area, device=windows.device), -1).flatten(1)
    return Sequences(ends, patches.shape[1], patches), Sequences(ends[[0, -1]], tokens * area, None)


def _run_block(
    block: Any, hidden: Tensor, rotary: tuple[Tensor, Tensor], sequences: Sequences, attention: Attend
) -> Tensor:
    """Run a stock block: ``[P, D] -> [P, D]``.

    The stock forward makes one attention call per window, thousands on a large page; this makes one.

    Args:
        block: stock block.
        hidden: hidden states of all patches.
        rotary: cosines and sines of the patches.
        sequences: patches that see one another.
        attention: attention of the block.
    """
    stock = block.attn
    query, key, value = stock.qkv(normed(block.norm1, hidden)).unflatten(-1, (3, stock.num_heads, -1)).unbind(1)
    query, key = apply_rotary_pos_emb_vision(query, key, *rotary)  # [P, heads, d]
    hidden = hidden + stock.proj(attention(query, key, value, sequences).flatten(1))
    return hidden + block.mlp(normed(block.norm2, hidden))  # type: ignore[no-any-return]


def _patch_positions(cells: Tensor, grid: tuple[int, int], merge: int) -> Tensor:
    """Compute row and column of every patch of the given visual tokens, ``[N * merge**2, 2]``."""
    within = torch.arange(merge, device=cells.device)
    row = (cells // grid[1] * merge)[:, None] + within.repeat_interleave(merge)
    column = (cells % grid[1] * merge)[:, None] + within.repeat(merge)
    return torch.stack([row, column], dim=-1).flatten(0, 1)
