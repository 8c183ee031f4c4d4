"""Defines the protocol of a pruning method, which scores visual tokens by what the model computes anyway.

Pruning has three stages: a method scores, a keep rule selects, and ``prefill`` prunes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from glimpseprune.rule import KeepRule


class Method(Protocol):
    """Scores the visual tokens of an image for one question after layer K.

    Attributes:
        prune_layer: number K of the prune layer; layers 0..K run on every token.
        appended: number of tokens that the method appends to each prompt.
        vision_layers: layers of the vision tower whose output the method reads, once per page.
        attention_layers: layers, up to K, whose attention from the last token to the prompt the method reads.
        raw_attention: true for attention scores before the softmax, false for their log-softmax.
    """

    @property
    def prune_layer(self) -> int: ...  # noqa: D102

    @property
    def appended(self) -> int: ...  # noqa: D102

    @property
    def vision_layers(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def attention_layers(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def raw_attention(self) -> bool: ...  # noqa: D102

    @property
    def rule(self) -> KeepRule:
        """Keep rule that the method was made with."""

    def token_at(self, layer: int) -> Tensor | None:
        """Return the input of the appended tokens to a layer, ``[appended, D]``, or ``None`` for none.

        At layer 0 this is their embedding. At later layers it is added to their hidden states.
        """

    def precompute(self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None) -> Any:
        """Compute once per page what scoring needs for every question.

        Args:
            features: output of each of ``vision_layers``, ``[N, vision_hidden_size]``.
            grid: rows and columns of visual tokens.
            cells: raster indices ``[N]`` of the tokens, increasing; ``None`` for the whole grid, N = rows * columns.
        """

    def score(self, attention: Tensor, image: Any) -> Tensor:
        """Score the visual tokens of an image for Q questions.

        Args:
            attention: attention of the last token, ``[Q, N, len(attention_layers) * H]``, layer by layer.
            image: result of :meth:`precompute`.

        Returns:
            Importance logits ``[Q, N]``, higher = keep.
        """

    def precompute_flops(self, visual: int) -> int:
        """Count the operations of :meth:`precompute` on an image of ``visual`` tokens."""

    def score_flops(self, visual: int) -> int:
        """Count the operations of :meth:`score` per question, for an image of ``visual`` tokens."""
