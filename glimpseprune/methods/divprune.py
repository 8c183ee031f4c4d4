"""Keeps visual tokens that differ: DivPrune (arXiv 2503.02175), which solves a max-min diversity problem greedily."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glimpseprune.methods.early import Reduced, kept
from glimpseprune.received_attention import ReceivedAttention


@dataclass(frozen=True)
class DivPrune:
    """Keeps the tokens whose smallest cosine distance to one another is large, whatever the question.

    The first token is the one farthest from its nearest neighbour; each next one is the farthest from those chosen.
    """

    reads_tower: bool = False

    def reduce(self, tokens: Tensor, tower: ReceivedAttention | None, question: Tensor, count: int) -> Reduced:
        """Keep ``count`` tokens of ``[N, D]``; see :class:`~glimpseprune.methods.early.EarlyMethod`."""
        unit = F.normalize(tokens.float(), dim=-1)
        distance = 1.0 - unit @ unit.T  # [N, N]
        distance.fill_diagonal_(torch.inf)
        chosen = [int(distance.min(0).values.argmax())]
        nearest = distance[chosen[0]].clone()  # to any chosen token, [N]
        while len(chosen) < count:
            nearest[chosen[-1]] = -torch.inf
            chosen.append(int(nearest.argmax()))
            nearest = torch.minimum(nearest, distance[chosen[-1]])
        return kept(tokens, torch.tensor(chosen, device=tokens.device))
