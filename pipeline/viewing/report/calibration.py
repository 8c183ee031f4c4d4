"""Compares how sure the model was with how often people said that it was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.viewing.published import Published, rows_of

_BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same confidence.

    Attributes:
        rows: number of answers.
        confidence: their mean confidence, in 0..1.
        right: share of them that are right, in 0..1.
    """

    rows: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence of answers whose truth is known.

    Attributes:
        bins: answers by confidence, from the least sure to the surest; empty bins are left out.
        rows: number of answers.
        confidence: mean confidence, in 0..1.
        right: share that is right, in 0..1.
        error: expected calibration error: mean distance of confidence and share right over the bins, by rows.
    """

    bins: tuple[Bin, ...]
    rows: int
    confidence: float
    right: float
    error: float


def labelled(run: Published) -> tuple[list[float], list[bool]]:
    """Return the confidence of each answer that a person has reviewed, and whether it is right.

    Args:
        run: what the run published.
    """
    sure, right = [], []
    for row in rows_of(run.answers, ("unit_id", "page", "answer", "confidence")) if run.reviews else ():
        said = run.reviews.get((row["unit_id"], row["page"]))
        if said is not None and row["confidence"] is not None:
            sure.append(row["confidence"])
            right.append((row["answer"] or "").strip() == said.strip())
    return sure, right


def calibration(confidence: Sequence[float], right: Sequence[bool]) -> Calibration | None:
    """Sum labelled answers up; ``None`` without any.

    Args:
        confidence: confidence of each answer, in 0..1.
        right: whether each answer is right.
    """
    if not confidence:
        return None
    sure, true = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    places = np.clip((sure * _BINS).astype(int), 0, _BINS - 1)
    masks = [places == place for place in range(_BINS)]
    bins = [Bin(int(mask.sum()), float(sure[mask].mean()), float(true[mask].mean())) for mask in masks if mask.any()]
    error = sum(one.rows * abs(one.confidence - one.right) for one in bins) / len(sure)
    return Calibration(tuple(bins), len(sure), float(sure.mean()), float(true.mean()), error)
