"""Predicts the importance of visual tokens from glimpse attention and visual features.

Modules and parameters have the names of the published checkpoint (``attn_fuser``), so its state dict loads unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import ACT2FN

from glimpseprune.grid import grid_windows, renumbered
from glimpseprune.methods.glimpse.addon_config import AddonConfig
from glimpseprune.row_sizes import linear
from glimpseprune.window_attention import attend_in_windows

_NORM_EPS = 1e-6
_ROTARY_BASE = 10000.0


@dataclass(frozen=True, slots=True)
class ImageCondition:
    """Holds what the predictor computes of an image for all questions.

    Attributes:
        conditions: part of queries and keys that comes from the visual features, ``[N, E + F]`` each, per layer.
        rotary: cosines and sines of the grid, ``[N, (E + F) / heads]`` each.
        windows: token numbers ``[windows, window**2]``, -1 where there is no token; ``None`` for attention over the
            whole image.
    """

    conditions: tuple[tuple[Tensor, Tensor], ...]
    rotary: tuple[Tensor, Tensor]
    windows: Tensor | None


class Predictor(nn.Module):
    """Predicts which visual tokens of an image matter to a question (arXiv 2508.01548, section 3.2).

    Args:
        config: settings of the add-on.
    """

    def __init__(self, config: AddonConfig) -> None:
        super().__init__()
        width, condition = config.attn_fuse_size, config.visual_cond_size
        depth = len(config.selected_visual_layers)
        self.window = None if config.attn_fuse_global else config.window
        self.head_dim = (width + condition) // config.attn_fuse_num_heads
        self.attn_in_proj = nn.Linear(len(config.selected_layers) * config.base.num_attention_heads, width)
        self.cond_in_projs = nn.ModuleList(nn.Linear(config.base.vision_hidden_size, condition) for _ in range(depth))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(depth))
        self.attn_out_projs = nn.ModuleList(
            nn.Linear(width, 1) if config.deep_supervision or i == depth - 1 else nn.Identity() for i in range(depth)
        )

    def precompute(
        self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None
    ) -> ImageCondition:
        """Compute once per page what scoring needs for every question.

        Args:
            features: output of each selected visual layer, ``[N, vision_hidden_size]``.
            grid: rows and columns of visual tokens.
            cells: raster indices ``[N]`` of the tokens, increasing; ``None`` for the whole grid, N = rows * columns.
        """
        device = features[0].device
        conditions = []
        for layer, project, feature in zip(self.layers, self.cond_in_projs, features, strict=True):
            attention: _ConditionedAttention = layer.attn  # type: ignore[assignment]
            conditions.append(attention.condition(_apply(project, feature)))
        windows = None if self.window is None else grid_windows(grid, self.window, device)
        cos, sin = grid_rotary(grid, self.head_dim, device)
        if cells is not None:
            cos, sin = cos[cells], sin[cells]
            windows = None if windows is None else renumbered(windows, cells, grid)
        return ImageCondition(tuple(conditions), (cos, sin), windows)

    def score(self, attention: Tensor, image: ImageCondition) -> Tensor:
        """Score the visual tokens of an image for Q questions.

        Args:
            attention: glimpse attention ``[Q, N, layers * H]``, layer by layer.
            image: result of :meth:`precompute`.

        Returns:
            Importance logits ``[Q, N]``, higher = keep.
        """
        x = _apply(self.attn_in_proj, attention)  # [Q, N, E]
        for layer, condition in zip(self.layers, image.conditions, strict=True):
            x = layer(x, condition, image.rotary, image.windows)
        return _apply(self.attn_out_projs[-1], x)[..., 0]


def grid_rotary(grid: tuple[int, int], head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Compute cosines and sines ``[N, head_dim]`` of a grid in raster order, float32.

    A quarter of the channels turns with the row, a quarter with the column; both are repeated, as in the vision tower.

    Args:
        grid: rows and columns of visual tokens.
        head_dim: width of one head.
        device: device of the result.
    """
    rows, columns = grid
    inverse = 1.0 / _ROTARY_BASE ** (
        torch.arange(0, head_dim // 2, 2, device=device, dtype=torch.float32) * 2 / head_dim
    )
    row = torch.arange(rows, device=device, dtype=torch.float32).repeat_interleave(columns)
    column = torch.arange(columns, device=device, dtype=torch.float32).repeat(rows)
    angles = torch.cat([row[:, None] * inverse, column[:, None] * inverse], dim=-1).repeat(1, 2)
    return angles.cos(), angles.sin()


class _Layer(nn.Module):
    def __init__(self, config: AddonConfig) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(config.attn_fuse_size, eps=_NORM_EPS)
        self.norm2 = nn.RMSNorm(config.attn_fuse_size, eps=_NORM_EPS)
        self.attn = _ConditionedAttention(config.attn_fuse_size, config.visual_cond_size, config.attn_fuse_num_heads)
        self.mlp = _SwiGLU(config.attn_fuse_size, config.attn_fuse_hidden_act)

    def forward(
        self, x: Tensor, condition: tuple[Tensor, Tensor], rotary: tuple[Tensor, Tensor], windows: Tensor | None
    ) -> Tensor:
        x = x + self.attn(self.norm1(x), condition, rotary, windows)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class _ConditionedAttention(nn.Module):
    """Attends among visual tokens; queries and keys also depend on the visual features, values do not."""

    def __init__(self, width: int, condition: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.width = width
        self.q_proj = nn.Linear(width + condition, width + condition, bias=False)
        self.k_proj = nn.Linear(width + condition, width + condition, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def condition(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the part of queries and keys, ``[N, E + F]`` each, that comes from visual features ``[N, F]``."""
        query, key = (linear(features, proj.weight[:, self.width :]) for proj in (self.q_proj, self.k_proj))
        return query, key

    def forward(
        self, x: Tensor, condition: tuple[Tensor, Tensor], rotary: tuple[Tensor, Tensor], windows: Tensor | None
    ) -> Tensor:
        query, key = (
            _rotate((linear(x, proj.weight[:, : self.width]) + seen).view(*x.shape[:2], self.heads, -1), rotary)
            for proj, seen in zip((self.q_proj, self.k_proj), condition, strict=True)
        )  # [Q, N, heads, (E + F) / heads]
        value = _apply(self.v_proj, x).view(*x.shape[:2], self.heads, -1)  # [Q, N, heads, E / heads]
        if windows is None:
            # Fused kernels, which never store N x N scores, need values as wide as the keys. They are avoided under
            # gradients: their backward pass recomputes the softmax from its sum, and explodes at large logits.
            width = value.shape[-1]
            padded = value if query.requires_grad else F.pad(value, (0, key.shape[-1] - width))
            query, key, padded = (t.transpose(1, 2) for t in (query, key, padded))
            out = F.scaled_dot_product_attention(query, key, padded).transpose(1, 2)[..., :width]
        else:
            out = attend_in_windows(query, key, value, windows)
        return _apply(self.o_proj, out.flatten(2))


def _apply(layer: Any, x: Tensor) -> Tensor:
    """Apply a linear layer, ``[..., in] -> [..., out]``."""
    return linear(x, layer.weight, layer.bias)


def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Apply the rotary embedding to ``x`` ``[Q, N, heads, head_dim]``, in float32."""
    cos, sin = (t[:, None] for t in rotary)
    first, second = x.float().chunk(2, dim=-1)
    rotated = x.float() * cos + torch.cat([-second, first], dim=-1) * sin
    return rotated.to(x.dtype)


class _SwiGLU(nn.Module):
    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, 2 * width)
        self.up_proj = nn.Linear(width, 2 * width)
        self.down_proj = nn.Linear(2 * width, width)
        self.activation = ACT2FN[activation]

    def forward(self, x: Tensor) -> Tensor:
        gated = self.activation(_apply(self.gate_proj, x)) * _apply(self.up_proj, x)
        return _apply(self.down_proj, gated)
