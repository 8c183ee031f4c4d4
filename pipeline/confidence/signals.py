"""Sums up what an answer's tokens and the glimpse tell about how sure the model was."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Signals:
    """Figures of one answer from which its confidence is computed; a column of ``answers`` each.

    Attributes:
        confidence_raw: geometric mean of the probabilities of the tokens, in 0..1.
        logprob_mean: mean log-probability of the tokens.
        logprob_min: log-probability of the least likely token.
        logprob_first: log-probability of the first token.
        margin_min: smallest difference between the log-probabilities of a token and of the likeliest other one.
        glimpse_mass: share of all importance that lies on kept tokens, in 0..1; ``None`` where nothing was scored.
        glimpse_spread: entropy of the importance over the visual tokens, divided by the largest possible one, in 0..1:
            0 for importance on a single token; ``None`` where nothing was scored.
    """

    confidence_raw: float
    logprob_mean: float
    logprob_min: float
    logprob_first: float
    margin_min: float
    glimpse_mass: float | None = None
    glimpse_spread: float | None = None


def signals_of(
    logprobs: Sequence[float],
    margins: Sequence[float],
    keep: npt.NDArray[np.bool_] | None = None,
    scores: npt.NDArray[np.float32] | None = None,
) -> Signals:
    """Sum up one answer.

    Args:
        logprobs: log-probability of each token, at least one.
        margins: log-probability of each token less that of the likeliest other one.
        keep: kept visual tokens, bool ``[N]``; ``None`` where nothing was scored.
        scores: importance logits, float32 ``[N]``; ``None`` where nothing was scored.
    """
    mean = statistics.fmean(logprobs)
    mass, spread = (None, None) if keep is None or scores is None else _glimpse(keep, scores)
    return Signals(math.exp(mean), mean, min(logprobs), logprobs[0], min(margins), mass, spread)


def _glimpse(keep: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32]) -> tuple[float, float] | tuple[None, None]:
    """Compute mass and spread of the importance ``sigmoid(scores)``; ``None`` if no token has any."""
    importance = np.exp(-np.logaddexp(0.0, -scores.astype(np.float64)))  # of minus infinity, 0
    total = float(importance.sum())
    if total == 0.0:
        return None, None
    share = importance[importance > 0.0] / total
    entropy = -float((share * np.log(share)).sum())
    return float(importance[keep].sum()) / total, max(0.0, entropy) / math.log(max(2, scores.size))
