"""Scores an answer against the right ones."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

ANLS_THRESHOLD = 0.5


def exact_match(answer: str, gold: Sequence[str]) -> bool:
    """Tell whether the answer equals a right one, character for character, ignoring outer white space."""
    return answer.strip() in {one.strip() for one in gold}


def anls(answer: str, gold: Sequence[str]) -> float:
    """Compute the ANLS of one answer, in 0..1: its similarity to the closest right answer, 0 below a half.

    The similarity is the normalised Levenshtein similarity (Biten et al., 2019). As in the DocVQA evaluation, case and
    outer white space do not count.
    """
    said = answer.strip().lower()
    best = max(Levenshtein.normalized_similarity(said, one.strip().lower()) for one in gold)
    return best if best > 1.0 - ANLS_THRESHOLD else 0.0
