"""Rounds the number of rows of a CPU's matrix products up, so that oneDNN meets few different ones.

oneDNN makes code for each number of rows: milliseconds in bfloat16, longer than such a product of a small model takes,
and about a megabyte that stays. Pages differ in theirs, so that nearly every page would pay for nearly every layer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_FEW = 64  # rows of a step of decode, whose numbers come again, and which would wait for a copy


def rounded_rows(rows: int) -> int:
    """Round a number of rows up by less than an eighth, or a sixteenth from 256 on; few rows stay as they are."""
    if rows <= _FEW:
        return rows
    step = 1 << (rows.bit_length() - (4 if rows < 256 else 5))
    return -(-rows // step) * step


def in_rounded_rows(product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a product to the rows of an input, and to some of zeros behind them.

    Args:
        product: function ``[..., in] -> [..., out]`` that treats each row by itself.
        x: input ``[..., in]``.

    Returns:
        The output ``[..., out]``.
    """
    rows = x.numel() // x.shape[-1]
    missing = rounded_rows(rows) - rows
    if not missing:
        return product(x)
    out = product(F.pad(x.reshape(rows, -1), (0, 0, 0, missing)))
    return out[:rows].view(*x.shape[:-1], out.shape[-1])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer, ``[..., in] -> [..., out]``, in rounded rows where oneDNN computes it."""
    if x.device.type == "cpu" and x.dtype == torch.bfloat16:
        return in_rounded_rows(lambda rows: F.linear(rows, weight, bias), x)
    return F.linear(x, weight, bias)
