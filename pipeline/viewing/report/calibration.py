"""Compares how sure the model was with how often people said that it was right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.questions.no_answer import says_no_answer
from pipeline.viewing.published import Published, rows_of

_BINS = 10
_COLUMNS = ("status", "answer", "value", "model_answer", "model_value", "model_confidence")


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
    measured = pc.and_(run.answers["reviewed"], pc.is_valid(run.answers["model_confidence"]))
    for row in rows_of(run.answers.filter(measured), _COLUMNS):
        sure.append(row["model_confidence"])
        right.append(_is_right(row))
    return sure, right


def _is_right(row: dict[str, Any]) -> bool:
    """Compare by value, as 1,903.88 is the same number as 1903.88; where one has no value, by text."""
    said, model = row["answer"], row["model_answer"] or ""
    if row["value"] is not None and row["model_value"] is not None:
        return bool(json.loads(row["value"]) == json.loads(row["model_value"]))
    if row["status"] == "not_answerable":
        return row["model_value"] is None and says_no_answer(model)
    return bool(model.strip() == said.strip())


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
