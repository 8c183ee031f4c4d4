"""Cuts the pixels of a page into the patches that the vision tower takes, on the device of the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cut_patches(
    page: Tensor, scale: float, mean: Sequence[float], std: Sequence[float], patch: int, merge: int, frames: int
) -> Tensor:
    """Normalise a page and cut it, exactly as the stock image processors do without resizing.

    Args:
        page: pixels, uint8 ``[H, W, 3]``; H and W are multiples of ``patch * merge``.
        scale: factor of the pixel values, usually 1/255.
        mean: mean of each channel, subtracted after scaling.
        std: standard deviation of each channel, the divisor after that.
        patch: pixels along one side of a patch.
        merge: patches along one side of a visual token; the patches of a token are consecutive.
        frames: number of copies of a patch; the tower takes that many video frames at once.

    Returns:
        Patches, float32 ``[H / patch * W / patch, 3 * frames * patch * patch]`` on the device of ``page``.
    """
    planes = page.permute(
        2, 0, 1
    ).contiguous()  # [3, H, W]; permuting before the conversion moves one byte per value, not four
    # As in the stock processor, scaling rounds once, from double precision: every device gives the same bits.
    values = planes.double().mul_(scale).float()
    values.sub_(_planes(mean, values)).div_(_planes(std, values))
    rows, columns = values.shape[1] // (patch * merge), values.shape[2] // (patch * merge)
    cut = values.view(3, rows, merge, patch, columns, merge, patch).permute(1, 4, 2, 5, 0, 3, 6)
    films = cut.unsqueeze(5).expand(-1, -1, -1, -1, -1, frames, -1, -1)  # [rows, columns, merge, merge, 3, frames, ...]
    return films.reshape(rows * columns * merge**2, 3 * frames * patch**2)


def by_channel(figures: float | Sequence[float]) -> list[float]:
    """Return one number per channel; a configuration may give one for all."""
    return [float(figures)] * 3 if isinstance(figures, (int, float)) else [float(figure) for figure in figures]


def _planes(figures: Sequence[float], like: Tensor) -> Tensor:
    """Make a tensor ``[3, 1, 1]`` of one number per channel."""
    return torch.tensor(figures, dtype=like.dtype, device=like.device)[:, None, None]
