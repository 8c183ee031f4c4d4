"""Says how good sampled answers are, as GlimpsePrune+ rewards them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from pipeline.datasets.example import Example
from pipeline.evaluation.metrics import anls, exact_match, value_equal

RewardName = Literal["exact", "anls", "typed"]
REWARDS: tuple[RewardName, ...] = get_args(RewardName)

Graded = Sequence[tuple[Example, str]]
Grader = Callable[[Graded], list[float]]
"""Grades answers to examples: quality of each, in 0..1."""


def metric_grader(name: RewardName) -> Grader:
    """Make the grader of a metric: exact match, ANLS, or equality under the type of the question.

    Args:
        name: name of the metric.
    """

    def quality(example: Example, answer: str) -> float:
        if name == "anls":
            return anls(answer, example.answers)
        if name == "exact":
            return float(exact_match(answer, example.answers))
        return float(value_equal(answer, example.answers, example.read_as))

    return lambda graded: [quality(example, answer) for example, answer in graded]
