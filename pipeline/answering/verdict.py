"""Decides whether an answer can be used as it is, and which value it stands for."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.answering.open_page import ModelAnswer
from pipeline.questions.values import find_choice
from pipeline.records import Ask, Status

_NO_ANSWER = "n/a"  # what the default prompts ask for; no question may list it as a choice
_NOT_ANSWERABLE = frozenset({_NO_ANSWER, "na", "not answerable", "unanswerable", "not available"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of an answer, with its value or the reason why it has none."""

    status: Status
    value: str | None = None
    value_error: str | None = None


def judge(ask: Ask, answer: ModelAnswer, is_doubtful: bool = False) -> Verdict:
    """Judge one answer.

    It needs review if it was cut off or is empty, if it is none of the choices, if so few tokens passed the threshold
    that the floor added others to them, or if the picture of the page is doubtful.

    Args:
        ask: question that was asked.
        answer: answer of the model.
        is_doubtful: whether a part of the page may be missing, or its letters wrong.
    """
    choice = find_choice(answer.text, ask.choices)
    said = answer.text.lower().strip().rstrip(".")
    if said == _NO_ANSWER or (said in _NOT_ANSWERABLE and choice is None):
        return Verdict("needs_review" if is_doubtful else "not_answerable")
    whole = answer.text and answer.finish_reason != "length" and not answer.stats.floor_hit and not is_doubtful
    if ask.choices and choice is None:
        return Verdict("needs_review", None, f"expected one of {', '.join(ask.choices)}, found {answer.text!r}")
    return Verdict("answered" if whole else "needs_review", choice)
