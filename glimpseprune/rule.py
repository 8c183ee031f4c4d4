"""Which visual tokens stay: the rule, apart from the scores it is applied to."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeepRule:
    """Keep the visual tokens of an image above a threshold of importance, and their neighbours, within two bounds.

    Args:
        threshold: keep where ``sigmoid(score) > threshold``; in ``[0, 1)``.
        max_ratio: cap, as a share of the image's tokens in ``(0, 1]``; the ``int(max_ratio * N)`` best remain.
            ``None`` sets no cap.
        min_tokens: floor; where fewer pass, the best ``min_tokens`` are kept instead.
        margin: tokens next to one that passes, in rows and columns, pass as well: what is printed lies across tokens.
        anchor: every ``anchor``-th token of every ``anchor``-th row stays as well, within the cap: a little of
            everything tells where things are. 0: none.

    Raises:
        ValueError: a value is outside its range.
    """

    threshold: float = 0.5
    max_ratio: float | None = None
    min_tokens: int = 1
    margin: int = 0
    anchor: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold < 1.0:
            raise ValueError(f"threshold must be in [0, 1), got {self.threshold}")
        if self.max_ratio is not None and not 0.0 < self.max_ratio <= 1.0:
            raise ValueError(f"max_ratio must be in (0, 1] or None, got {self.max_ratio}")
        if self.min_tokens < 0:
            raise ValueError(f"min_tokens must not be negative, got {self.min_tokens}")
        if self.margin < 0:
            raise ValueError(f"margin must not be negative, got {self.margin}")
        if self.anchor < 0:
            raise ValueError(f"anchor must not be negative, got {self.anchor}")

    @property
    def threshold_logit(self) -> float:
        """The score above which a token passes by itself."""
        return math.log(self.threshold / (1 - self.threshold)) if self.threshold else -math.inf
