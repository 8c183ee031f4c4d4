"""Measures how well a confidence tells right answers from wrong ones. Higher confidence means more likely right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BINS = 15
Numbers = npt.NDArray[np.float64]


def auroc(confidence: Sequence[float], right: Sequence[bool]) -> float | None:
    """Compute the share of pairs of a right and a wrong answer in which the right one is the more confident.

    A tie counts half. The result is ``None`` if all answers are right, or all are wrong.
    """
    ranks, is_right = _mid_ranks(confidence), np.array(right, bool)
    ours, others = int(is_right.sum()), int((~is_right).sum())
    if not ours or not others:
        return None
    return float((ranks[is_right].sum() - ours * (ours + 1) / 2) / (ours * others))


def aurc(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Compute the area under the risk-coverage curve: the mean share of wrong answers among the k most confident.

    Of answers of equal confidence, each counts as much wrong as all of them together.
    """
    return float(_risks(confidence, right)[1].mean())


def coverage(confidence: Sequence[float], right: Sequence[bool], error: float) -> float:
    """Compute the largest share of answers, the most confident ones, of which at most ``error`` are wrong.

    Answers of equal confidence are taken together.
    """
    last, risks = _risks(confidence, right)
    allowed = np.flatnonzero(last & (risks <= error))
    return float((allowed[-1] + 1) / len(risks)) if len(allowed) else 0.0


def calibration_error(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Compute the expected calibration error over ``BINS`` equal bins of 0..1 (Guo et al., 2017)."""
    given, is_right = np.array(confidence, float), np.array(right, float)
    bins = np.minimum((given * BINS).astype(int), BINS - 1)
    apart = [abs(float((given - is_right)[bins == one].sum())) for one in range(BINS)]
    return sum(apart) / len(given)


def _risks(confidence: Sequence[float], right: Sequence[bool]) -> tuple[npt.NDArray[np.bool_], Numbers]:
    """Say of answers, by falling confidence, which is the last of its own, and how many were wrong up to it."""
    values, group = np.unique(-np.array(confidence, float), return_inverse=True)
    wrong = 1.0 - np.array(right, float)
    sizes = np.bincount(group, minlength=len(values))
    means = np.bincount(group, weights=wrong, minlength=len(values)) / sizes
    last = np.zeros(len(wrong), bool)
    last[np.cumsum(sizes) - 1] = True
    risks: Numbers = np.cumsum(np.repeat(means, sizes)) / np.arange(1, len(wrong) + 1)
    return last, risks


def _mid_ranks(values: Sequence[float]) -> Numbers:
    """Rank values from 1; equal ones share the mean of their ranks."""
    _, group, sizes = np.unique(np.array(values, float), return_inverse=True, return_counts=True)
    ranks: Numbers = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return ranks
