"""Decides whether an answer can be used as it is, as far as that does not depend on the value it stands for."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.answering.open_page import ModelAnswer
from pipeline.questions.no_answer import says_no_answer
from pipeline.records import Ask, Reason, Status


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of an answer, and why it needs review, if it does."""

    status: Status
    reasons: tuple[Reason, ...] = ()


def judge(ask: Ask, answer: ModelAnswer, is_doubtful: bool = False) -> Verdict:
    """Judge one answer.

    It needs review if it was cut off, was forced by the limits of its type or is empty, if so few tokens passed the
    threshold that the floor added others to them, or if the picture of the page is doubtful.

    Args:
        ask: question that was asked.
        answer: answer of the model.
        is_doubtful: whether a part of the page may be missing, or its letters wrong.
    """
    if says_no_answer(answer.text, ask.choices):
        return Verdict("needs_review", ("page",)) if is_doubtful else Verdict("not_answerable")
    found: dict[Reason, bool] = {
        "empty": not answer.text,
        "cut_off": answer.finish_reason == "length",
        "forced": answer.is_forced,
        "floor": bool(answer.stats.floor_hit),
        "page": is_doubtful,
    }
    reasons = tuple(reason for reason, holds in found.items() if holds)
    return Verdict("needs_review" if reasons else "answered", reasons)
