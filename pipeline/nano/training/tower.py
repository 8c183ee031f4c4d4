"""The vision tower for training: batches of grey images of one size, over the weights of the stock model.

The stock forward takes one packed sequence of colour patches at a time; here a batch is one tensor, the three equal
channels and two equal frames are summed into the weight, and windows are a reshape. The result is the same
(``tests/test_nano.py``). Images have sides that are multiples of the attention window.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.nano.training.shape import (
    CELL,
    FULL_ATTENTION,
    GREY_MEAN,
    GREY_STD,
    PATCH,
    VISION_HEADS,
    VISION_WIDTH,
    WIDTH,
    WINDOW,
)
from pipeline.nano.training.targets import CLASSES, COLUMNS, SLOTS

_SIDE = WINDOW // PATCH  # patches along a window
_HEAD = VISION_WIDTH // VISION_HEADS
Rotary = tuple[Tensor, Tensor]


class ReadingHeads(nn.Module):
    """Heads that exist in training only: the characters of each patch column, and of each cell in reading order."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Linear(VISION_WIDTH, COLUMNS * CLASSES)
        self.cell = nn.Linear(WIDTH, SLOTS * CLASSES)
        silence(self)


def silence(heads: nn.Module) -> None:
    """Set all weights of heads to zero, so that they tell nothing at first."""
    for parameter in heads.parameters():
        nn.init.zeros_(parameter)


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """A linear layer in the precision of its input."""
    return F.linear(x, layer.weight.to(x.dtype), None if layer.bias is None else layer.bias.to(x.dtype))


def rms_norm(x: Tensor, norm: Any) -> Tensor:
    """RMSNorm in the precision of its input, with statistics in float32."""
    return F.rms_norm(x, x.shape[-1:], norm.weight.to(x.dtype), norm.variance_epsilon)


def swiglu(x: Tensor, mlp: Any) -> Tensor:
    """Gated MLP with SiLU."""
    return linear(F.silu(linear(x, mlp.gate_proj)) * linear(x, mlp.up_proj), mlp.down_proj)


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotary embedding of the last axis, in the precision of x."""
    cos, sin = rotary
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos[..., :half] - b * sin[..., :half], b * cos[..., half:] + a * sin[..., half:]), -1)


def in_window_order(values: Tensor) -> Tensor:
    """Values of patches ``[B, H / 14, W / 14, ...]`` in the tower's order, ``[B, patches, ...]``."""
    batch, rows, columns, *rest = values.shape
    half = _SIDE // 2
    x = values.view(batch, rows // _SIDE, half, 2, columns // _SIDE, half, 2, *rest)
    return x.permute(0, 1, 4, 2, 5, 3, 6, *range(7, 7 + len(rest))).reshape(batch, rows * columns, *rest)


def cells_in_window_order(values: Tensor) -> Tensor:
    """Values of cells ``[B, rows, columns, ...]`` in the order of the merged tokens, ``[B, cells, ...]``."""
    batch, rows, columns, *rest = values.shape
    half = _SIDE // 2
    x = values.view(batch, rows // half, half, columns // half, half, *rest)
    return x.permute(0, 1, 3, 2, 4, *range(5, 5 + len(rest))).reshape(batch, rows * columns, *rest)


def raster_order(rows: int, columns: int) -> Tensor:
    """For each cell in raster order, its place in the order of the merged tokens, ``[cells]``."""
    return cells_in_window_order(torch.arange(rows * columns).view(1, rows, columns))[0].argsort()


def vision_rotary(height: int, width: int) -> Rotary:
    """Cosines and sines ``[1, patches, 1, head]`` of an image, in window order."""
    inverse = 1.0 / 10000.0 ** (torch.arange(0, _HEAD // 2, 2).float() / (_HEAD // 2))
    row, column = torch.meshgrid(torch.arange(height // PATCH), torch.arange(width // PATCH), indexing="ij")
    angles = torch.cat((row[..., None] * inverse, column[..., None] * inverse), -1).repeat(1, 1, 2)
    angles = in_window_order(angles[None])[:, :, None]
    return angles.cos(), angles.sin()


def run_tower(vision: Any, pixels: Tensor, rotary: Rotary, seen: Tensor | None = None) -> Tensor:
    """Hidden states after the last vision layer.

    Args:
        vision: the stock model's vision tower.
        pixels: ``[B, H, W]`` uint8 grey.
        rotary: of this size, in the precision to compute in.
        seen: ``[B, cells]`` bool in raster order, the cells that the model is shown; all when None.

    Returns:
        ``[B, patches, VISION_WIDTH]`` in window order; of cells that are not shown without meaning.
    """
    height, width = pixels.shape[1:]
    grey = ((pixels.float() / 255 - GREY_MEAN) / GREY_STD).to(rotary[0].dtype)
    patches = grey.view(-1, height // PATCH, PATCH, width // PATCH, PATCH).transpose(2, 3)
    x = in_window_order(patches).flatten(2)
    weight = vision.patch_embed.proj.weight.sum((1, 2)).view(-1, PATCH * PATCH)
    x = F.linear(x, weight.to(x.dtype))
    known = None
    if seen is not None:
        known = cells_in_window_order(seen.view(-1, height // CELL, width // CELL))
        known = known[..., None].expand(-1, -1, (CELL // PATCH) ** 2).flatten(1)
    for number, block in enumerate(vision.blocks):
        x = run_block(block, x, rotary, x.shape[1] if number in FULL_ATTENTION else _SIDE**2, known)
    return x


def run_block(block: Any, x: Tensor, rotary: Rotary, window: int, known: Tensor | None) -> Tensor:
    """One block of the tower.

    Args:
        block: of the stock model.
        x: ``[B, patches, VISION_WIDTH]`` in window order.
        rotary: of these patches.
        window: how many consecutive patches see each other.
        known: ``[B, patches]`` bool, the patches that are seen; all when None.
    """
    qkv = linear(rms_norm(x, block.norm1), block.attn.qkv)
    query, key, value = qkv.view(*x.shape[:2], 3, VISION_HEADS, _HEAD).unbind(2)
    turned = torch.stack((rotate(query, rotary), rotate(key, rotary), value), 2)  # [B, patches, 3, heads, d]
    x = x + linear(_attention(turned, window, known), block.attn.proj)
    return x + swiglu(rms_norm(x, block.norm2), block.mlp)


def merge(vision: Any, x: Tensor) -> Tensor:
    """Visual tokens ``[B, cells, WIDTH]`` of the last layer's ``[B, patches, VISION_WIDTH]``, both in window order."""
    merger = vision.merger
    grouped = rms_norm(x, merger.ln_q).reshape(x.shape[0], x.shape[1] // 4, -1)
    return linear(F.gelu(linear(grouped, merger.mlp[0])), merger.mlp[2])


def reading_losses(
    vision: Any, heads: ReadingHeads, x: Tensor, tokens: Tensor, patch: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """How badly the characters are read.

    Args:
        vision: the vision tower.
        heads: the reading heads.
        x: ``[B, patches, VISION_WIDTH]`` after the last layer.
        tokens: ``[B, cells, WIDTH]`` merged.
        patch: ``[B, patches, COLUMNS]`` target classes.
        cell: ``[B, cells, SLOTS]`` target classes.

    Returns:
        The sum of both cross-entropies, in nats a printed character; the share of the cells' characters read right.
    """
    patch_logits = linear(rms_norm(x, vision.merger.ln_q), heads.patch).view(-1, CLASSES)
    cell_logits = linear(tokens, heads.cell).view(-1, CLASSES)
    patch, cell = patch.flatten(), cell.flatten()
    loss = F.cross_entropy(patch_logits.float(), patch, reduction="sum") / (patch > 1).sum().clamp(min=1)
    loss = loss + F.cross_entropy(cell_logits.float(), cell, reduction="sum") / (cell > 1).sum().clamp(min=1)
    printed = cell > 1
    right = ((cell_logits.argmax(-1) == cell) & printed).sum() / printed.sum().clamp(min=1)
    return loss, right.detach()


def _attention(qkv: Tensor, window: int, known: Tensor | None) -> Tensor:
    """Attention inside windows of consecutive patches, ``[B, patches, 3, heads, d] -> [B, patches, heads * d]``.

    Written out on a CPU: for windows this small it is faster there than the fused kernel. Patches that are not
    ``known`` (``[B, patches]`` bool) are not attended to.
    """
    batch, patches = qkv.shape[:2]
    query, key, value = qkv.reshape(-1, window, 3, VISION_HEADS, _HEAD).permute(2, 0, 3, 1, 4)
    mask = None
    if known is not None:
        mask = torch.where(known.reshape(-1, 1, 1, window), 0.0, -1e9).to(query.dtype)
    attended: Tensor
    if qkv.device.type == "cpu":
        scores = query * _HEAD**-0.5 @ key.mT
        attended = torch.softmax(scores if mask is None else scores + mask, -1) @ value
    else:
        mask = None if mask is None else mask.expand(-1, 1, window, -1)
        attended = F.scaled_dot_product_attention(query, key, value, mask)
    return attended.transpose(1, 2).reshape(batch, patches, -1)
