"""Pruning that gradients pass through: instead of leaving, a visual token fades from the attention of others.

A key whose score gets ``log(g)`` added weighs g times as much in the softmax: g = 1 changes nothing, g -> 0 removes the
token. g is a sample of a relaxed Bernoulli variable with the keep probability sigmoid(score) (the binary Concrete
distribution, arXiv 1611.00712), so that tokens in doubt are seen both kept and dropped and the scores learn to leave
the middle, where a threshold would turn "half seen" into "not seen".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_TEMPERATURE = 0.5


def log_gate(scores: Tensor, noise: Tensor) -> Tensor:
    """Logarithm of the sampled gates, what is added to attention scores.

    Args:
        scores: ``[N]`` importance logits.
        noise: ``[N]`` uniform in (0, 1); one half everywhere gives the middle of the distribution.
    """
    return F.logsigmoid((scores.float() + torch.logit(noise)) / _TEMPERATURE)


def uniform_noise(count: int, generator: torch.Generator) -> Tensor:
    """``[count]`` uniform in (0, 1), ends excluded, float32 on the CPU."""
    return torch.rand(count, generator=generator).clamp(1e-6, 1.0 - 1e-6)


def gated_causal_bias(queries: int, keys: int, columns: Tensor | None, gate: Tensor | None, like: Tensor) -> Tensor:
    """Make the bias on the attention scores of the last ``queries`` of ``keys`` tokens.

    Args:
        queries: tokens that attend, Q: the last of the sequence.
        keys: tokens that are attended to, S.
        columns: ``[N]`` places of the visual tokens among the keys.
        gate: ``[N]`` their log gates; ``None`` gates nothing.
        like: has the dtype and device of the result.

    Returns:
        ``[1, 1, Q, S]``: the gates in the columns of the visual tokens, minus infinity above the diagonal.
    """
    row = torch.zeros(keys, dtype=like.dtype, device=like.device)
    if gate is not None and columns is not None:
        row = row.index_add(0, columns, gate.to(row.dtype))
    above = torch.ones(queries, keys, dtype=torch.bool, device=like.device).triu(keys - queries + 1)
    bias: Tensor = row.expand(queries, keys).masked_fill(above, float("-inf"))
    return bias[None, None]
