"""From the pixels of a page to the patches the vision tower takes, on whatever device the pixels are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cut_patches(
    page: Tensor, scale: float, mean: Sequence[float], std: Sequence[float], patch: int, merge: int, frames: int
) -> Tensor:
    """Normalise a page and cut it, exactly as the image processor of Qwen2-VL does without resizing.

    Args:
        page: uint8 ``[H, W, 3]``; H and W are multiples of ``patch * merge``.
        scale: what a pixel value is multiplied by, 1/255 as a rule.
        mean: mean of each channel, subtracted after scaling.
        std: standard deviation of each channel, which divides at last.
        patch: pixels along one side of a patch.
        merge: patches along one side of a visual token; they follow one another.
        frames: how often a patch is repeated, as the tower takes so many frames of a film at once.

    Returns:
        float32 ``[H / patch * W / patch, 3 * frames * patch * patch]`` on the device of ``page``.
    """
    planes = page.permute(2, 0, 1).contiguous()  # [3, H, W]: one byte a value is moved, not four
    # The scaling is rounded once, from double precision, as in the stock processor: the same bits on any device.
    values = planes.double().mul_(scale).float()
    values.sub_(_by_channel(mean, values)).div_(_by_channel(std, values))
    rows, columns = values.shape[1] // (patch * merge), values.shape[2] // (patch * merge)
    cut = values.view(3, rows, merge, patch, columns, merge, patch).permute(1, 4, 2, 5, 0, 3, 6)
    films = cut.unsqueeze(5).expand(-1, -1, -1, -1, -1, frames, -1, -1)  # [rows, columns, merge, merge, 3, frames, ...]
    return films.reshape(rows * columns * merge**2, 3 * frames * patch**2)


def _by_channel(figures: Sequence[float], like: Tensor) -> Tensor:
    """One figure for each channel, ``[3, 1, 1]``."""
    return torch.tensor(figures, dtype=like.dtype, device=like.device)[:, None, None]
