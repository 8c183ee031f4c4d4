"""Drops visual tokens in stages, layer by layer: PyramidDrop (arXiv 2410.17247)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

STAGES = 4  # of equal depth, as in the paper; tokens are dropped between them


@runtime_checkable
class StagedMethod(Protocol):
    """Drops visual tokens at several layers, by the attention of the last prompt token to them.

    Attributes:
        layers: layers before which tokens are dropped, increasing.
    """

    @property
    def layers(self) -> tuple[int, ...]: ...  # noqa: D102

    def counts(self, total: int, count: int) -> list[int]:
        """Return how many tokens stay at each of ``layers``.

        Args:
            total: number of visual tokens.
            count: number of those that stay in the end.
        """


@dataclass(frozen=True)
class PyramidDrop:
    """Keeps the same share of the tokens at the end of every stage, without training.

    The attention is that of the last prompt token, averaged over heads, at the layer before which tokens are dropped.
    The share, lambda in the paper, follows from the number of tokens that stay in the end. What is dropped leaves the
    cache of the earlier layers too, where the paper keeps it.

    Attributes:
        num_layers: number of decoder layers.
    """

    num_layers: int

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers before which tokens are dropped: 8, 16 and 24 of 32."""
        at = (int(self.num_layers * stage / STAGES + 0.5) for stage in range(1, STAGES))
        return tuple(sorted({layer for layer in at if 0 < layer < self.num_layers}))

    def counts(self, total: int, count: int) -> list[int]:
        """Return how many of ``total`` tokens stay at each layer; the last are ``count``."""
        drops = len(self.layers)
        share = count / total
        return [*(max(count, int(total * share ** (drop / drops))) for drop in range(1, drops)), count]
