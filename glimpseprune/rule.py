"""Defines the keep rule, which says how scores turn into a selection of visual tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeepRule:
    """Keeps the visual tokens of an image that score above a threshold, within a floor and a cap.

    Args:
        threshold: value in ``[0, 1)`` that ``sigmoid(score)`` must exceed for a token to pass.
        max_ratio: cap, as a share of the image's tokens in ``(0, 1]``: the ``int(max_ratio * N)`` best stay. ``None``
            sets no cap.
        min_tokens: floor: if fewer pass, the best ``min_tokens`` stay.
        reach: number of tokens to the right of each passing token that pass too, up to the first that is hidden or has
            a low score, since the predictor finds where print begins better than where it ends.
        reach_threshold: value in ``[0, 1)`` that ``sigmoid(score)`` must exceed for a token within reach to pass.
        margin: number of tokens around each of these, in rows and columns, that pass too unless they show blank
            paper, since printed words reach across tokens.
        anchor: distance of the anchors, tokens of an even grid that stay too, within the cap, and show where things
            are on the page; 0 for none.

    Raises:
        ValueError: a value is outside its range.
    """

    threshold: float = 0.5
    max_ratio: float | None = None
    min_tokens: int = 1
    reach: int = 0
    reach_threshold: float = 0.0
    margin: int = 0
    anchor: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold < 1.0:
            raise ValueError(f"expected threshold in [0, 1), found {self.threshold}; pass one in this range")
        if self.max_ratio is not None and not 0.0 < self.max_ratio <= 1.0:
            raise ValueError(f"expected max_ratio in (0, 1], found {self.max_ratio}; pass None for no cap")
        if self.min_tokens < 0:
            raise ValueError(f"expected min_tokens of at least 0, found {self.min_tokens}; pass 0 for no floor")
        if self.reach < 0:
            raise ValueError(f"expected reach of at least 0, found {self.reach}; pass 0 for no reach")
        if not 0.0 <= self.reach_threshold < 1.0:
            raise ValueError(
                f"expected reach_threshold in [0, 1), found {self.reach_threshold}; pass one in this range"
            )
        if self.margin < 0:
            raise ValueError(f"expected margin of at least 0, found {self.margin}; pass 0 for no margin")
        if self.anchor < 0:
            raise ValueError(f"expected anchor of at least 0, found {self.anchor}; pass 0 for no anchors")

    @property
    def threshold_logit(self) -> float:
        """Score above which a token passes."""
        return math.log(self.threshold / (1 - self.threshold)) if self.threshold else -math.inf
