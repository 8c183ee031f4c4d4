"""Computes indices on the grid of an image's visual tokens: windows, and tokens left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def grid_windows(grid: tuple[int, int], window: int, device: torch.device) -> Tensor:
    """Cut the grid into ``window x window`` squares.

    Args:
        grid: rows and columns of visual tokens.
        window: side of a square in visual tokens.
        device: device of the result.

    Returns:
        Raster indices ``[windows, window**2]``, -1 outside the grid.
    """
    rows, columns = grid
    index = torch.arange(rows * columns, device=device).reshape(rows, columns)
    index = F.pad(index, (0, -columns % window, 0, -rows % window), value=-1)
    blocks = index.reshape(index.shape[0] // window, window, index.shape[1] // window, window)
    return blocks.transpose(1, 2).reshape(-1, window * window)


def renumbered(windows: Tensor, cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """Turn raster indices of windows into numbers of the tokens that are present.

    Args:
        windows: raster indices, as :func:`grid_windows` returns them.
        cells: raster indices ``[N]`` of the tokens that are present, increasing.
        grid: rows and columns of visual tokens.

    Returns:
        Numbers in ``0..N-1`` of the same shape, -1 for cells without a token.
    """
    numbers = torch.full((grid[0] * grid[1] + 1,), -1, device=cells.device)  # index -1 finds the last
    numbers[cells] = torch.arange(cells.numel(), device=cells.device)
    return numbers[windows]
