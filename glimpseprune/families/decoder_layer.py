"""Runs the decoder layers of Llama-like models with fewer operations than their stock forward.

A step of decode has little to compute, so its time is that of its operations, however small. Queries, keys and values
come from one product, and so do gate and up. The stock weights become views of the joined ones, so that the stock model
computes what it did and takes no more memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from glimpseprune.families.base import Cache, CacheGroup, Rotary
from glimpseprune.packed_linear import PackedLinear

_QKV = ("q_proj", "k_proj", "v_proj")
_GATE_UP = ("gate_proj", "up_proj")


class DecoderLayer:
    """Runs one stock layer: norm, attention, norm, gated MLP.

    Args:
        block: stock layer, whose projections have no gradients.
    """

    def __init__(self, block: Any) -> None:
        self.attention, self.mlp = block.self_attn, block.mlp
        self.first_norm, self.second_norm = block.input_layernorm, block.post_attention_layernorm
        attention = self.attention
        self.head_dim = int(attention.head_dim)
        self.heads = attention.q_proj.out_features // self.head_dim
        self.kv_heads = attention.k_proj.out_features // self.head_dim
        self.qkv: nn.Module = _joined(attention, _QKV)
        self.gate_up: nn.Module = _joined(self.mlp, _GATE_UP)
        self.head_norms = _head_norms(attention, self.heads, self.kv_heads)

    def pack(self) -> None:
        """Pack the joined weights for the CPU; the stock projections become parts of the packed ones."""
        self.qkv = _packed(self.qkv, self.attention, _QKV)
        self.gate_up = _packed(self.gate_up, self.mlp, _GATE_UP)

    @property
    def projections(self) -> dict[str, nn.Module]:
        """The linear layers by name: joined queries, keys and values, output, joined gate and up, down."""
        return {
            "qkv": self.qkv,
            "o_proj": self.attention.o_proj,
            "gate_up": self.gate_up,
            "down_proj": self.mlp.down_proj,
        }

    def replace(self, name: str, projection: nn.Module) -> None:
        """Put another module in the place of one of the ``projections``."""
        owner = {"o_proj": self.attention, "down_proj": self.mlp}.get(name, self)
        setattr(owner, name, projection)

    def run(self, hidden: Tensor, mask: Tensor | None, rotary: Rotary, cache: Cache | CacheGroup) -> Tensor:
        """Run the layer: ``[B, T, D] -> [B, T, D]``.

        Args:
            hidden: input of the layer.
            mask: attention mask as SDPA takes it; ``None`` for causal attention.
            rotary: result of :func:`prepared` for the positions.
            cache: cache for the new keys and values, or a group of them, which has the masks.
        """
        joined = self._heads(self.qkv(normed(self.first_norm, hidden)), slice(None))
        turn(joined[:, :, : -self.kv_heads], rotary)
        queries, both = torch.split(joined, [self.heads, 2 * self.kv_heads], dim=2)
        if isinstance(cache, CacheGroup):
            attended = cache.attend(self.attention.layer_idx, queries, both, self._attend)
        else:
            keys, values = cache.append(both, self.attention.layer_idx)
            attended = self._attend(queries, keys, values, mask)
        hidden = hidden + self.attention.o_proj(attended)
        gate, up = self.gate_up(normed(self.second_norm, hidden)).chunk(2, dim=-1)
        out: Tensor = hidden + self.mlp.down_proj(self.mlp.act_fn(gate) * up)
        return out

    def keys_values(self, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Compute the keys (after rotary) and values that :meth:`run` caches, ``[B, H_kv, T, d]`` each."""
        joined = self._heads(self._project(hidden, slice(self.heads * self.head_dim, None)), slice(self.heads, None))
        turn(joined[:, :, : self.kv_heads], rotary)
        keys, values = joined.transpose(1, 2).chunk(2, dim=1)
        return keys, values

    def queries(self, hidden: Tensor, rotary: Rotary) -> Tensor:
        """Compute the queries ``[B, H, T, d]`` of every position, rotated, not scaled."""
        queries = self._heads(self._project(hidden, slice(self.heads * self.head_dim)), slice(self.heads))
        return turn(queries, rotary).transpose(1, 2)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Attend with queries ``[B, T, H, d]`` to keys and values ``[B, H_kv, S, d]``: ``[B, T, H * d]``."""
        batch, tokens, _, size = queries.shape
        scaling = self.attention.scaling
        if tokens == 1:
            # What the stock function does, in fewer steps: the heads that share keys take the place of the tokens.
            grouped = queries.view(batch, self.kv_heads, -1, size)
            out = F.scaled_dot_product_attention(grouped, keys, values, mask, scale=scaling)
            return out.reshape(batch, 1, -1)
        attended, _ = sdpa_attention_forward(
            self.attention, queries.transpose(1, 2), keys, values, mask, dropout=0.0, scaling=scaling
        )
        return attended.flatten(2)  # type: ignore[no-any-return]

    def _project(self, hidden: Tensor, rows: slice) -> Tensor:
        """Compute some of the queries, keys and values; packed weights, and layers with LoRA, have no parts."""
        entering = normed(self.first_norm, hidden)
        if not isinstance(self.qkv, nn.Linear):
            return self.qkv(entering)[..., rows]  # type: ignore[no-any-return]
        bias = None if self.qkv.bias is None else self.qkv.bias[rows]
        return F.linear(entering, self.qkv.weight[rows], bias)

    def _heads(self, projected: Tensor, which: slice) -> Tensor:
        """Divide projections into heads, ``[B, T, heads * d] -> [B, T, heads, d]``, and normalise queries and keys.

        Args:
            projected: projections of some heads.
            which: those heads among all queries and keys, which values may follow.
        """
        heads = projected.view(*projected.shape[:2], -1, self.head_dim)
        if self.head_norms is None:
            return heads
        weights = self.head_norms[which]
        some = F.rms_norm(heads[:, :, : len(weights)], (self.head_dim,), None, self.attention.q_norm.variance_epsilon)
        return torch.cat([some * weights, heads[:, :, len(weights) :]], dim=2)  # rounded twice, as in the stock model


def normed(norm: Any, hidden: Tensor) -> Tensor:
    """Apply a stock RMS norm, in one operation on a GPU."""
    return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)


def prepared(cos: Tensor, sin: Tensor) -> Rotary:
    """Prepare cosines and sines ``[B, T, d]`` of Llama's rotary embedding for all layers: ``[B, T, 1, d]``.

    The embedding swaps the halves of each head and negates the first. The sines take the sign, once for all layers.
    """
    first, second = sin.chunk(2, dim=-1)
    return cos[:, :, None], torch.cat([-first, second], dim=-1)[:, :, None]


def turn(x: Tensor, rotary: Rotary) -> Tensor:
    """Apply a prepared rotary embedding to heads ``[B, T, heads, d]``, in place."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    swapped = torch.cat([second, first], dim=-1)
    return x.mul_(cos).add_(swapped.mul_(sin))  # rounded twice, as in the stock model


def _head_norms(attention: Any, heads: int, kv_heads: int) -> Tensor | None:
    """Join the weights of the norms of queries and keys, ``[heads + kv_heads, d]``; ``None`` without such norms."""
    if not hasattr(attention, "q_norm"):
        return None
    parts = (attention.q_norm.weight.expand(heads, -1), attention.k_norm.weight.expand(kv_heads, -1))
    return torch.cat(parts).detach()


def _joined(owner: nn.Module, names: Sequence[str]) -> nn.Linear:
    """Join linear layers of a stock module, whose weights and biases become views."""
    layers: list[Any] = [getattr(owner, name) for name in names]
    has_bias, rows = layers[0].bias is not None, sum(layer.out_features for layer in layers)
    joined = nn.Linear(layers[0].in_features, rows, bias=has_bias, device="meta")  # takes no memory yet
    for kind in ("weight", "bias") if has_bias else ("weight",):
        parts = [getattr(layer, kind) for layer in layers]
        whole = torch.cat([part.data for part in parts])
        for part, view in zip(parts, torch.split(whole, [part.shape[0] for part in parts]), strict=True):
            part.data = view
        setattr(joined, kind, nn.Parameter(whole, requires_grad=False))
    return joined


def _packed(joined: nn.Module, owner: nn.Module, names: Sequence[str]) -> nn.Module:
    """Pack a joined layer, and give the stock module its parts."""
    if not isinstance(joined, nn.Linear):
        return joined
    packed, start = PackedLinear(joined), 0
    for name in names:
        rows: int = getattr(owner, name).out_features
        setattr(owner, name, _Part(packed, slice(start, start + rows)))
        start += rows
    return packed


class _Part(nn.Module):
    """Stands in for a linear layer that was joined with others and packed."""

    def __init__(self, packed: PackedLinear, rows: slice) -> None:
        super().__init__()
        self.packed, self.rows = packed, rows

    def forward(self, x: Tensor) -> Tensor:
        part: Tensor = self.packed(x)[..., self.rows]
        return part
