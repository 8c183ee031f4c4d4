"""Tells whether the answers of a night are unlike those of the nights before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.output.nights import Night

Share = Annotated[float, Field(ge=0, le=1)]
Way = Literal["rose", "fell", "changed"]


class Thresholds(BaseModel):
    """How far a night may differ from the mean of the nights before it; the table ``[nightly]`` of a job file.

    Attributes:
        nights: number of nights that count, at most.
        least_rows: fewest answers of a night that can be compared.
        failed: most that the share of failed answers may rise.
        review: most that the share of answers to review may rise.
        retention: most that the mean retention may rise or fall.
        confidence: most that the mean confidence may fall.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    nights: int = Field(default=7, ge=1, le=365)
    least_rows: int = Field(default=100, ge=1)
    failed: Share = 0.02
    review: Share = 0.1
    retention: Share = 0.05
    confidence: Share = 0.05


_MEASURES: tuple[tuple[str, str, str, Way], ...] = (
    ("share of failed answers", "failed_share", "failed", "rose"),
    ("share of answers to review", "review_share", "review", "rose"),
    ("mean retention", "retention", "retention", "changed"),
    ("mean confidence", "confidence", "confidence", "fell"),
    ("mean confidence_raw", "confidence_raw", "confidence", "fell"),
)
"""What is compared: in words, field of a night, field of the thresholds, and the way in which it is bad."""


def drifts(night: Night, before: Sequence[Night], thresholds: Thresholds) -> list[str]:
    """Describe each measure that left its threshold; none without enough answers, or without nights to compare with.

    Args:
        night: the last night.
        before: earlier nights, oldest first.
        thresholds: how far a night may differ.
    """
    comparable = [one for one in before if one.rows >= thresholds.least_rows][-thresholds.nights :]
    if night.rows < thresholds.least_rows:
        return []
    told = []
    for words, field, limit, way in _MEASURES:
        now = getattr(night, field)
        then = [(getattr(one, field), one.rows) for one in comparable if getattr(one, field) is not None]
        if now is None or not then:
            continue
        mean = sum(value * rows for value, rows in then) / sum(rows for _, rows in then)
        change = now - mean
        most = getattr(thresholds, limit)
        if {"rose": change, "fell": -change, "changed": abs(change)}[way] > most:
            told.append(f"{words} was {mean:.3f}, is {now:.3f}: {change:+.3f}, where {most:g} is allowed ({limit})")
    return told
