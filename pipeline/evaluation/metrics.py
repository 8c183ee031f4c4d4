"""Scores an answer against the right ones."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from pipeline.questions.no_answer import says_no_answer
from pipeline.questions.values import Reading

ANLS_THRESHOLD = 0.5


def exact_match(answer: str, gold: Sequence[str]) -> bool:
    """Tell whether the answer equals a right one, character for character, ignoring outer white space."""
    return answer.strip() in {one.strip() for one in gold}


def anls(answer: str, gold: Sequence[str]) -> float:
    """Compute the ANLS of one answer, in 0..1: its similarity to the closest right answer, 0 below a half.

    The similarity is the normalised Levenshtein similarity (Biten et al., 2019). As in the DocVQA evaluation, case and
    outer white space do not count, and white space inside counts as one space. Without a right answer it is 0.
    """
    said = " ".join(answer.lower().split())
    best = max((Levenshtein.normalized_similarity(said, " ".join(one.lower().split())) for one in gold), default=0.0)
    return best if best > 1.0 - ANLS_THRESHOLD else 0.0


def value_equal(answer: str, gold: Sequence[str], reading: Reading) -> bool:
    """Tell whether an answer stands for the same as a right one, under the type of the question.

    An answer or a right one without a value, or with two possible ones, is right only character for character.

    Args:
        answer: answer of the model.
        gold: all right answers.
        reading: how the answers to the question are read.
    """
    if exact_match(answer, gold):
        return True
    if says_no_answer(answer, reading.choices):
        return any(says_no_answer(one, reading.choices) for one in gold)
    mine = _value(answer, reading)
    return mine is not None and mine in [_value(one, reading) for one in gold]


def _value(answer: str, reading: Reading) -> str | None:
    parsed = reading.value_of(answer)
    return None if parsed.value is None or parsed.error is not None else parsed.value.json
