"""Makes the prompt about one image that the golden numbers of Qwen's families are computed on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

IMAGE, VIDEO, START, END = 28, 29, 30, 31
_ROWS, _COLUMNS = 3, 5  # visual tokens: not square, no multiple of a window, more patches than learned positions
_PATCHES = 4  # per visual token


def golden_prompt(noise: Callable[[int, int], Tensor], patch_dim: int) -> dict[str, Tensor]:
    """Make the prompt as a processor would.

    Args:
        noise: function ``(count, seed)`` that gives the pixels.
        patch_dim: numbers per patch.
    """
    visual = _ROWS * _COLUMNS
    return {
        "input_ids": torch.tensor([[1, 2, START, *[IMAGE] * visual, END, 5, 6, 7, 8]]),
        "pixel_values": noise(visual * _PATCHES * patch_dim, 99).float().view(-1, patch_dim),
        "image_grid_thw": torch.tensor([[1, 2 * _ROWS, 2 * _COLUMNS]]),
    }
