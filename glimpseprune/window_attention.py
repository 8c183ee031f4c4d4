"""Attends inside windows of an image, all windows in one call."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend_in_windows(query: Tensor, key: Tensor, value: Tensor, windows: Tensor) -> Tensor:
    """Attend inside each window only; a token that is in no window gets undefined values.

    Args:
        query: queries ``[Q, N, heads, d]``.
        key: keys of the same shape.
        value: values ``[Q, N, heads, d_v]``.
        windows: token numbers ``[windows, W]``, -1 where there is no token; a token is in one window at most.

    Returns:
        Attention output ``[Q, N, heads, d_v]``.
    """
    inside = windows >= 0  # [windows, W]
    batch = value.shape[0]
    query, key, value_in = (
        t[:, windows.clamp(min=0)].transpose(2, 3).flatten(0, 1) for t in (query, key, value)
    )  # [Q * windows, heads, W, *]
    mask = inside.repeat(batch, 1)[:, None, None]
    attended = F.scaled_dot_product_attention(query, key, value_in, attn_mask=mask).transpose(1, 2)
    out = torch.empty_like(value)
    out[:, windows[inside]] = attended.reshape(batch, *windows.shape, *value.shape[2:])[:, inside]
    return out
