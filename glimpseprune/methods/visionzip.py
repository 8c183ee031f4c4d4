"""Keeps visual tokens that the vision tower attends to, and merges the others: VisionZip (arXiv 2412.04467)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glimpseprune.methods.early import Reduced
from glimpseprune.received_attention import ReceivedAttention

CONTEXTUAL = 10 / 64
"""Share of contextual tokens among those that stay: 10 of 64 in the paper, and as many of 128 and 192 in proportion."""


@dataclass(frozen=True)
class VisionZip:
    """Keeps dominant tokens and makes contextual ones, whatever the question.

    Dominant tokens receive the most attention in the tower's last block. Of the rest, evenly spaced ones become
    contextual tokens: each other one is added, as a mean, to the contextual token with the most similar key. In the
    paper, attention is that of CLIP's class token; a tower without one has the attention received from all patches
    stand in for it, as in VisionZip's code for such models.
    """

    reads_tower: bool = True

    def reduce(self, tokens: Tensor, tower: ReceivedAttention | None, question: Tensor, count: int) -> Reduced:
        """Make ``count`` tokens of ``[N, D]``; see :class:`~glimpseprune.methods.early.EarlyMethod`."""
        if tower is None:
            raise ValueError("expected the attention of the vision tower, found none; read it first")
        if count == len(tokens):
            return Reduced(torch.arange(count, device=tokens.device), tokens)
        contextual = min(int(CONTEXTUAL * count), count - 1)
        is_dominant = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        is_dominant[tower.received.topk(count - contextual).indices] = True
        rest = (~is_dominant).nonzero()[:, 0]
        step = max(1, len(rest) // max(1, contextual))
        is_target = torch.zeros(len(rest), dtype=torch.bool, device=tokens.device)
        is_target[torch.arange(0, len(rest), step, device=tokens.device)[:contextual]] = True
        targets, others = rest[is_target], rest[~is_target]
        made = tokens.clone()
        if len(targets) and len(others):
            keys = F.normalize(tower.keys.float(), dim=-1)
            nearest = (keys[others] @ keys[targets].T).argmax(-1)
            sums = tokens.new_zeros(len(targets), tokens.shape[1]).index_add_(0, nearest, tokens[others])
            sizes = nearest.bincount(minlength=len(targets)).clamp_min(1)[:, None]
            made[targets] = tokens[targets] + sums / sizes
        is_dominant[targets] = True
        places = is_dominant.nonzero()[:, 0]
        return Reduced(places, made[places])
