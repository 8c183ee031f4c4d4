"""Computes figures that several benchmarks share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipeline.evaluation.benchmarks.base import Reply
from pipeline.evaluation.metrics import anls


def mean_anls(replies: Sequence[Reply]) -> float:
    """Compute the mean ANLS of replies to questions with answers, in 0..1."""
    return _mean([anls(reply.answer, reply.question.answers or ()) for reply in replies])


def micro_f1(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Mapping[str, float]:
    """Compute F1, precision and recall over everything that was extracted from all documents, in 0..1.

    Args:
        pairs: what was extracted from each document, and what is right; each entry may occur several times.
    """
    right = said = wanted = 0
    for answers, gold in pairs:
        right += (Counter(answers) & Counter(gold)).total()
        said += len(answers)
        wanted += len(gold)
    precision, recall = right / said if said else 0.0, right / wanted if wanted else 0.0
    both = precision + recall
    return {"F1": 2 * precision * recall / both if both else 0.0, "precision": precision, "recall": recall}


def mean_of(values: Iterable[float]) -> float:
    """Compute the mean of values; of none it is 0."""
    return _mean(list(values))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
