"""Defines the terms of a logistic model as JSON stores them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Numbers = npt.NDArray[np.float64]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


Number = Annotated[float, AfterValidator(_finite)]


class Stored(BaseModel):
    """The base of what a calibration file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Term(Stored):
    """What one feature adds: ``weight`` times its distance from ``mean`` in units of ``scale``, within low..high."""

    low: Number
    high: Number
    mean: Number
    scale: float = Field(gt=0)
    weight: Number


def linear_scores(terms: Mapping[str, Term], bias: float, matrix: Numbers) -> Numbers:
    """Return the score of each row of features ``[rows, terms]``.

    Args:
        terms: what each feature adds, in the order of the columns.
        bias: score of a row with mean features.
        matrix: features.
    """
    low, high, mean, scale, weight = (
        np.array([getattr(term, name) for term in terms.values()])
        for name in ("low", "high", "mean", "scale", "weight")
    )
    inside = (np.clip(matrix, low, high) - mean) / scale
    found: Numbers = inside @ weight + bias
    return found
