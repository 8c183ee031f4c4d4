"""The vision tower of Qwen2.5-VL, driven block by block over the patches of all visual tokens or of some.

A token that is not to be seen is in no sequence of the tower. What stays keeps its rotary positions and its windows,
which have fewer patches then, and the blocks over the whole image attend to what there is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glimpseprune.grid import grid_windows, renumbered


def run_tower(
    vision: Any, pixels: Tensor, grid: tuple[int, int], cells: Tensor, layers: Collection[int]
) -> tuple[Tensor, dict[int, Tensor]]:
    """Run the stock tower's own modules.

    Args:
        vision: the tower.
        pixels: ``[patches, patch_dim]``, the patches of a visual token together, tokens in raster order.
        grid: rows and columns of visual tokens.
        cells: ``[N]`` which of them are seen, in raster order.
        layers: blocks whose output is wanted.

    Returns:
        Visual tokens ``[N, D]`` in raster order; and the outputs of the blocks, the mean over each token's patches,
        ``[N, vision_hidden_size]``.
    """
    merge = int(vision.spatial_merge_size)
    area = merge**2
    side = int(vision.window_size) // merge // int(vision.patch_size)
    windows = renumbered(grid_windows(grid, side, pixels.device), cells, grid)  # [windows, W], -1 where nothing is seen
    order = windows[windows >= 0]  # window after window, as the blocks want them
    raster = order.argsort()
    sizes = (windows >= 0).sum(1)
    ends = torch.cat([sizes.new_zeros(1), sizes[sizes > 0].cumsum(0)]).to(torch.int32) * area
    inside = {"cu_seqlens": ends, "max_seqlen": int(sizes.max()) * area}
    whole = {"cu_seqlens": ends[[0, -1]], "max_seqlen": cells.numel() * area}

    patches = pixels.view(-1, area, pixels.shape[-1])[cells[order]].flatten(0, 1)
    # A convolution whose kernel is one patch; as a matrix product it is several times as fast.
    hidden = F.linear(patches.to(vision.patch_embed.proj.weight.dtype), vision.patch_embed.proj.weight.flatten(1))
    rotary = vision.rotary_pos_emb(hidden, _patch_positions(cells[order], grid, merge))
    outputs = {}
    for number, block in enumerate(vision.blocks):
        sequences = whole if number in vision.fullatt_block_indexes else inside
        hidden = block(hidden, position_embeddings=rotary, **sequences)
        if number in layers:
            outputs[number] = hidden.view(len(order), area, -1).mean(1)[raster]
    return vision.merger(hidden)[raster], outputs


def _patch_positions(cells: Tensor, grid: tuple[int, int], merge: int) -> Tensor:
    """Row and column of every patch of some visual tokens, ``[N * merge**2, 2]``."""
    within = torch.arange(merge, device=cells.device)
    row = (cells // grid[1] * merge)[:, None] + within.repeat_interleave(merge)
    column = (cells % grid[1] * merge)[:, None] + within.repeat(merge)
    return torch.stack([row, column], dim=-1).flatten(0, 1)
