"""Scales features for a logistic model, in the form in which a calibration stores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.confidence.terms import Numbers, Term

PENALTY = 1.0
_EDGE = 0.002


@dataclass(frozen=True, slots=True)
class Scaled:
    """Features of one scale.

    Attributes:
        matrix: the features, ``[rows, features]``, cut off at their edges, of mean 0 and deviation 1.
        low: lower edge of each feature.
        high: upper edge of each feature.
        mean: mean of each feature between its edges.
        scale: deviation of each feature; 1 where it is always the same.
    """

    matrix: Numbers
    low: Numbers
    high: Numbers
    mean: Numbers
    scale: Numbers

    @classmethod
    def of(cls, matrix: Numbers) -> Scaled:
        """Scale features ``[rows, features]``; a thousandth or two at each end does not stretch them."""
        low, high = np.quantile(matrix, [_EDGE, 1 - _EDGE], axis=0)
        low, high = np.where(low == high, matrix.min(axis=0), low), np.where(low == high, matrix.max(axis=0), high)
        inside = np.clip(matrix, low, high)
        mean, spread = inside.mean(axis=0), inside.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        return cls((inside - mean) / scale, low, high, mean, scale)

    def terms(self, names: Sequence[str], weights: Numbers) -> dict[str, Term]:
        """Return the terms of a logistic model that was fitted on the matrix.

        Args:
            names: names of the features.
            weights: weight of each.
        """
        columns = zip(self.low, self.high, self.mean, self.scale, weights, strict=True)
        return {
            name: Term(low=low, high=high, mean=mean, scale=scale, weight=weight)
            for name, (low, high, mean, scale, weight) in zip(names, columns, strict=True)
        }
