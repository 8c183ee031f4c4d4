"""Defines a presence model: how likely it is, before anything is decoded, that a page holds an answer."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from pipeline.confidence.terms import Number, Numbers, Stored, Term, linear_scores

CLUES = ("peak", "best", "mass", "spread", "text_layer", "words_found")
"""Names of the clues, in the order of :func:`clues_of`."""
_BEST = 8  # tokens: about as many as an answer covers
_LEAST = 1e-6  # importance below which float32 tells nothing


def clues_of(scores: npt.NDArray[np.float32], words_found: float | None) -> tuple[float, ...]:
    """Compute what the glimpse and the words of a page tell of whether it holds an answer.

    Args:
        scores: importance logits of the visual tokens, float32 ``[N]``; minus infinity for tokens that are not visible.
        words_found: share of the words of the question that are on the page, in 0..1; ``None`` without a text layer.

    Returns:
        The clues, in the order of ``CLUES``: the highest logit; the mean of the highest eight; the logarithm of the
        whole importance; its entropy, divided by the largest possible one; whether there is a text layer; and the share
        of words found, 0 without one.
    """
    seen = scores[np.isfinite(scores)].astype(np.float64)
    best = np.sort(seen)[::-1][:_BEST]
    importance = np.exp(-np.logaddexp(0.0, -seen))
    total = max(float(importance.sum()), _LEAST)
    share = importance[importance > 0.0] / total
    spread = max(0.0, -float((share * np.log(share)).sum())) / math.log(max(2, seen.size))
    layer = 0.0 if words_found is None else 1.0
    return float(best[0]), float(best.mean()), math.log(total), spread, layer, words_found or 0.0


class Presence(Stored):
    """A logistic model of the clues.

    Where it was fitted, half of the weight was on pages that hold the answer: how many pages do differs from document
    to document, and where fewer do, the probability is too high rather than too low.

    Attributes:
        terms: what each clue adds to the score, in the order of ``CLUES``.
        bias: score of a page with mean clues.
        held: number of questions that it was fitted on whose page holds the answer.
        absent: number of those whose page does not.
    """

    terms: dict[str, Term]
    bias: Number
    held: int = Field(ge=1)
    absent: int = Field(ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Presence:
        if tuple(self.terms) != CLUES:
            raise ValueError(f"presence: expected the terms {', '.join(CLUES)}, in this order")
        return self

    @property
    def fingerprint(self) -> str:
        """Identify the content by 16 hex digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def probabilities(self, matrix: Numbers) -> Numbers:
        """Return the probability that the page holds the answer, in 0..1, for each row of clues ``[rows, clues]``."""
        found: Numbers = np.exp(-np.logaddexp(0.0, -linear_scores(self.terms, self.bias, matrix)))
        return found
