"""Finds the choice that an answer names, and tells texts apart that differ in more than case or marks."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence


def same_but_for_case(text: str) -> str:
    """Return a form that is equal for texts that differ in case, width or white space only."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def same_but_for_marks(text: str) -> str:
    """Return a form that is equal for texts that differ in case, width, white space or punctuation only.

    Signs such as ``+`` and ``$`` are no punctuation, so they stay.
    """
    kept = (c for c in same_but_for_case(text) if not unicodedata.category(c).startswith(("P", "Z")))
    return "".join(kept)


def find_choice(answer: str, choices: Sequence[str]) -> str | None:
    """Return the choice that an answer names, as written in the questions file, or ``None``.

    Case, white space and punctuation make no difference, unless they are all that tells two choices apart.

    Args:
        answer: answer of the model.
        choices: choices of the question.
    """
    forms: tuple[Callable[[str], str], ...] = (same_but_for_case, same_but_for_marks)
    for form in forms:
        said = form(answer)
        meant = [choice for choice in choices if said and form(choice) == said]
        if meant:
            return meant[0] if len(meant) == 1 else None
    return None
