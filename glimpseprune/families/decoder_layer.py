"""Runs the decoder layers of Llama-like models with fewer operations than their stock forward.

Queries, keys and values come from one product, and so do gate and up. The stock weights become views of the joined
ones, so that the stock model stays as it is and takes no more memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from glimpseprune.families.base import Cache, Rotary


class DecoderLayer:
    """Runs one stock layer: norm, attention, norm, gated MLP.

    Args:
        block: stock layer, whose projections have no gradients.
        implementation: transformers' name of the attention implementation.
    """

    def __init__(self, block: Any, implementation: str) -> None:
        self.attention, self.mlp = block.self_attn, block.mlp
        self.first_norm, self.second_norm = block.input_layernorm, block.post_attention_layernorm
        self.attend = ALL_ATTENTION_FUNCTIONS[implementation]
        attention = self.attention
        self.head_dim = int(attention.head_dim)
        self.heads = attention.q_proj.out_features // self.head_dim
        self.kv_heads = attention.k_proj.out_features // self.head_dim
        self.qkv, self.qkv_bias = _joined([attention.q_proj, attention.k_proj, attention.v_proj])
        self.gate_up, self.gate_up_bias = _joined([self.mlp.gate_proj, self.mlp.up_proj])

    def run(self, hidden: Tensor, mask: Tensor | None, rotary: Rotary, cache: Cache) -> Tensor:
        """Run the layer: ``[B, T, D] -> [B, T, D]``.

        Args:
            hidden: input of the layer.
            mask: attention mask as the attention implementation takes it; ``None`` for causal attention.
            rotary: cosines and sines ``[B, T, d]`` of the positions.
            cache: cache for the new keys and values.
        """
        joined = self._heads(F.linear(self.first_norm(hidden), self.qkv, self.qkv_bias))
        turned = rotated(joined[:, : -self.kv_heads], rotary)
        # Copies, since caches keep them for long, and a view would keep the queries too.
        keys, values = turned[:, self.heads :].contiguous(), joined[:, -self.kv_heads :].contiguous()
        keys, values = cache.update(keys, values, self.attention.layer_idx)
        attended, _ = self.attend(
            self.attention, turned[:, : self.heads], keys, values, mask, dropout=0.0, scaling=self.attention.scaling
        )
        hidden = hidden + self.attention.o_proj(attended.flatten(2))
        gate, up = F.linear(self.second_norm(hidden), self.gate_up, self.gate_up_bias).chunk(2, dim=-1)
        out: Tensor = hidden + self.mlp.down_proj(self.mlp.act_fn(gate) * up)
        return out

    def keys_values(self, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Compute the keys (after rotary) and values that :meth:`run` caches, ``[B, H_kv, T, d]`` each."""
        first = self.heads * self.head_dim
        bias = None if self.qkv_bias is None else self.qkv_bias[first:]
        joined = self._heads(F.linear(self.first_norm(hidden), self.qkv[first:], bias))
        return rotated(joined[:, : self.kv_heads], rotary), joined[:, self.kv_heads :].contiguous()

    def queries(self, hidden: Tensor, rotary: Rotary) -> Tensor:
        """Compute the queries ``[B, H, T, d]`` of every position, rotated, not scaled."""
        last = self.heads * self.head_dim
        bias = None if self.qkv_bias is None else self.qkv_bias[:last]
        return rotated(self._heads(F.linear(self.first_norm(hidden), self.qkv[:last], bias)), rotary)

    def _heads(self, projected: Tensor) -> Tensor:
        """Divide projections into heads: ``[B, T, heads * d] -> [B, heads, T, d]``."""
        return projected.view(*projected.shape[:2], -1, self.head_dim).transpose(1, 2)


def rotated(x: Tensor, rotary: Rotary) -> Tensor:
    """Apply the rotary embedding ``[B, T, d]`` to heads ``[B, heads, T, d]``, as Llama does."""
    cos, sin = (t[:, None] for t in rotary)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def _joined(linears: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    """Join the weights, and biases if there are any, of linear layers; those of the layers become views."""
    weight = _joined_views([linear.weight for linear in linears])
    biases = [linear.bias for linear in linears if linear.bias is not None]
    return weight, _joined_views(biases) if biases else None


def _joined_views(parts: Sequence[Tensor]) -> Tensor:
    joined = torch.cat([part.data for part in parts])
    for part, view in zip(parts, torch.split(joined, [part.shape[0] for part in parts]), strict=True):
        part.data = view
    return joined
