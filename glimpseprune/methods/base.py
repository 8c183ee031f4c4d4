"""The protocol of a pruning method: it scores visual tokens by what the model computes anyway.

Score, select and prune are three stages. A method scores; the rule selects; ``prefill`` prunes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from glimpseprune.rule import KeepRule


class Method(Protocol):
    """Scores the visual tokens of an image for one question after layer K.

    Attributes:
        prune_layer: K; layers 0..K run on every token.
        appended: tokens that the method appends to each prompt.
        vision_layers: layers of the vision tower whose output it reads, once per page.
        attention_layers: layers up to K at which it reads the last token's attention to the prompt.
        raw_attention: whether these are scores before the softmax; otherwise their log-softmax.
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
        """The rule that the method was made with."""

    def token_at(self, layer: int) -> Tensor | None:
        """Return what the appended tokens receive before a layer, ``[appended, D]``; ``None`` for nothing.

        At layer 0 this is their input embedding; at a later layer it is added to their hidden states.
        """

    def precompute(self, features: Sequence[Tensor], grid: tuple[int, int], cells: Tensor | None = None) -> Any:
        """Compute what scoring needs of an image whatever the question, once per page.

        Args:
            features: output of each of ``vision_layers``, ``[N, vision_hidden_size]``.
            grid: rows and columns of visual tokens.
            cells: ``[N]`` raster indices of the tokens, increasing; ``None`` for all, N = rows * columns.
        """

    def score(self, attention: Tensor, image: Any) -> Tensor:
        """Score the visual tokens of an image for Q questions.

        Args:
            attention: the last token's attention, ``[Q, N, len(attention_layers) * H]``, layer-major.
            image: result of :meth:`precompute`.

        Returns:
            ``[Q, N]`` importance logits, higher = keep.
        """

    def precompute_flops(self, visual: int) -> int:
        """Operations of :meth:`precompute` on an image of ``visual`` tokens."""

    def score_flops(self, visual: int) -> int:
        """Operations of :meth:`score` for one question."""
