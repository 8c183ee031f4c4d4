"""Recognises the answers that say that the page does not tell."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.questions.choices import find_choice

NO_ANSWER = "n/a"  # what the default prompts ask for; no question may list it as a choice
NOT_ANSWERABLE = frozenset({NO_ANSWER, "na", "not answerable", "unanswerable", "not available"})


def says_no_answer(answer: str, choices: Sequence[str] = ()) -> bool:
    """Tell whether an answer says that the page does not tell.

    Args:
        answer: answer of the model.
        choices: choices of the question, one of which may look like no answer, as ``NA`` for North America does.
    """
    said = _plain(answer)
    return said == NO_ANSWER or (said in NOT_ANSWERABLE and find_choice(answer, choices) is None)


def person_says_no_answer(answer: str) -> bool:
    """Tell whether a person says that the page does not tell; ``Na`` from a person is what stands on the page.

    Args:
        answer: what a person said in a review.
    """
    return _plain(answer) == NO_ANSWER


def _plain(answer: str) -> str:
    return answer.lower().strip().rstrip(".")
