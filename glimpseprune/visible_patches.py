"""The vision tower of Qwen2.5-VL on some of an image's patches: those of the visual tokens that are to be seen.

The rest is in no sequence of the tower. What stays keeps its rotary positions and its windows, which have fewer patches
then, and the layers over the whole image attend to what there is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glimpseprune.vip import renumbered


def visible_patches(
    pixels: Tensor, grid: tuple[int, int], merge: int, windows: Tensor, visible: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the tower is called with.

    Args:
        pixels: ``[patches, patch_dim]``, the ``merge**2`` patches of a visual token together, tokens in raster order.
        grid: rows and columns of visual tokens.
        merge: patches along one side of a visual token.
        windows: raster indices of each attention window, as of :func:`~glimpseprune.vip.grid_windows`.
        visible: the M tokens that are seen, bool ``[rows * columns]``.

    Returns:
        Their patches ``[M * merge**2, patch_dim]``; and, under the names that the tower takes instead of working them
        out: row and column of each patch ``[M * merge**2, 2]``, the tokens in the order of their windows ``[M]``, and
        where windows and image end, counted in patches.
    """
    cells, area = visible.nonzero()[:, 0], merge**2
    row, column = cells // grid[1], cells % grid[1]
    down = torch.arange(merge, device=cells.device).repeat_interleave(merge)  # within a token
    right = torch.arange(merge, device=cells.device).repeat(merge)
    positions = torch.stack([row[:, None] * merge + down, column[:, None] * merge + right], dim=-1)

    numbers = renumbered(windows, cells, grid)  # [windows, W], -1 where nothing is seen
    sizes = (numbers >= 0).sum(1)
    ends = torch.cat([sizes.new_zeros(1), sizes[sizes > 0].cumsum(0)]) * area
    return pixels.view(visible.numel(), area, -1)[visible].flatten(0, 1), {
        "position_ids": positions.flatten(0, 1),
        "window_index": numbers[numbers >= 0],
        "cu_window_seqlens": ends.to(torch.int32),
        "cu_seqlens": ends[[0, -1]].to(torch.int32),
    }
