"""Keeps the visual tokens that one token of the prompt attends to most, averaged over heads.

With the last prompt token this is FastV (arXiv 2403.06764), which leaves K open and mostly takes 2. With a trained
glimpse token it is GlimpsePrune without its predictor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from glimpseprune.methods.base import Method
from glimpseprune.rule import KeepRule

FASTV_LAYER = 1
"""FastV's own prune layer: its K = 2 counts the layers that run on every token, and these are layers 0 and 1."""


@dataclass(frozen=True)
class MeanAttention:
    """Scores tokens by the attention of the last token at the prune layer, as a method without a predictor.

    What it drops leaves the cache of the earlier layers too, which FastV keeps.

    Attributes:
        prune_layer: number K of the prune layer, whose attention is read.
        glimpse: method whose tokens are appended; ``None`` reads the last prompt token.
    """

    prune_layer: int
    glimpse: Method | None = None
    vision_layers: tuple[int, ...] = ()
    raw_attention: bool = False
    rule: KeepRule = KeepRule(threshold=0.0)

    @property
    def appended(self) -> int:
        """Number of tokens that are appended to each prompt."""
        return 0 if self.glimpse is None else self.glimpse.appended

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Layers whose attention is read: the prune layer."""
        return (self.prune_layer,)

    def token_at(self, layer: int) -> Tensor | None:
        """Return the input of the appended tokens to a layer, ``[appended, D]``, or ``None`` for none."""
        return None if self.glimpse is None else self.glimpse.token_at(layer)

    def precompute(self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None) -> tuple[()]:
        """Compute nothing: without a question, no token is attended to."""
        return ()

    def score(self, attention: Tensor, image: tuple[()]) -> Tensor:
        """Turn log-attention ``[Q, N, H]`` into the logarithm of its mean over heads, ``[Q, N]``."""
        return attention.float().logsumexp(-1) - math.log(attention.shape[-1])

    def precompute_flops(self, visual: int) -> int:
        """Count no operations."""
        return 0

    def score_flops(self, visual: int) -> int:
        """Count no operations: the attention is computed for the answer too."""
        return 0
