"""Tells which share of a question's words is on a page."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from pipeline.answering.folded_text import fold
from pipeline.words import Words

_SHORTEST = 3  # letters of a word that says what a question is about
_ALIKE = 0.8  # spelling of two words from which on they count as the same
_ASKING = frozenset(
    "what which who whom whose when where why how much many the and for from with this that does did was were are has "
    "have its there page document please give name "
    "welche welcher welches wie wer wann ist der die das den des und von "
    "quel quelle quels quelles est les dans qui que quién cuál qué cuándo los las del".split()
)
"""Words that stand in questions about anything."""


def shares_of_words(questions: Sequence[str], words: Words | None) -> list[float | None]:
    """Return which share of the words of each question is on a page, in 0..1, also if spelled a little otherwise.

    Args:
        questions: texts of the questions.
        words: text layer of the page; ``None`` without one.

    Returns:
        The shares; ``None`` without a text layer, and for a question without words that say what it is about.
    """
    if words is None:
        return [None] * len(questions)
    on_page = list({fold([word]).letters for word in words.text.split()})
    return [_share(_telling(question), on_page) for question in questions]


def _telling(question: str) -> list[str]:
    """Return the folded words that say what a question is about."""
    folded = dict.fromkeys(fold([word]).letters for word in question.split())
    return [word for word in folded if len(word) >= _SHORTEST and word not in _ASKING]


def _share(sought: Sequence[str], on_page: Sequence[str]) -> float | None:
    if not sought:
        return None
    alike = Levenshtein.normalized_similarity
    found = [process.extractOne(word, on_page, scorer=alike, score_cutoff=_ALIKE) is not None for word in sought]
    return sum(found) / len(found)
