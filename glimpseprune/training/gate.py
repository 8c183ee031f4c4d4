"""Prunes visual tokens by gates that gradients pass through.

A gate g fades a visual token from the attention of others: ``log(g)`` is added to its attention score, so it weighs g
times as much in the softmax. g = 1 changes nothing, and g -> 0 removes the token. g is a sample of a relaxed Bernoulli
variable with the keep probability sigmoid(score), the binary Concrete distribution of arXiv 1611.00712. Uncertain
tokens are thus trained both kept and dropped. This pushes scores away from the middle, where inference would drop a
token that training had half kept.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_TEMPERATURE = 0.5


def log_gate(scores: Tensor, noise: Tensor) -> Tensor:
    """Sample the gates, and return their logarithms ``[N]``.

    Args:
        scores: importance logits ``[N]``.
        noise: uniform numbers ``[N]`` in (0, 1); one half everywhere gives the median of each gate.
    """
    return F.logsigmoid((scores.float() + torch.logit(noise)) / _TEMPERATURE)


def uniform_noise(count: int, generator: torch.Generator) -> Tensor:
    """Draw uniform numbers ``[count]`` in (0, 1) without the ends, float32 on the CPU."""
    return torch.rand(count, generator=generator).clamp(1e-6, 1.0 - 1e-6)


def gated_causal_bias(queries: int, keys: int, columns: Tensor | None, gate: Tensor | None, like: Tensor) -> Tensor:
    """Make the bias for causal attention of the last Q of S tokens, with gated visual tokens.

    Args:
        queries: number of tokens that attend, Q, the last of the sequence.
        keys: number of tokens in the sequence, S.
        columns: places ``[N]`` of the visual tokens among the keys.
        gate: log gates ``[N]`` of the visual tokens; ``None`` for no gates.
        like: tensor with the dtype and device of the result.

    Returns:
        Bias ``[1, 1, Q, S]``: log gates in the columns of the visual tokens, minus infinity where the key is later than
        the query, 0 elsewhere.
    """
    row = torch.zeros(keys, dtype=like.dtype, device=like.device)
    if gate is not None and columns is not None:
        row = row.index_add(0, columns, gate.to(row.dtype))
    above = torch.ones(queries, keys, dtype=torch.bool, device=like.device).triu(keys - queries + 1)
    bias: Tensor = row.expand(queries, keys).masked_fill(above, float("-inf"))
    return bias[None, None]
