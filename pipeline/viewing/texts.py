"""Writes answers, names and numbers the way people read them."""

from __future__ import annotations

import re
from typing import Any

from pipeline.file_names import printable

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")

STATUS_WORDS = {
    "answered": "answered",
    "not_answerable": "not answerable",
    "needs_review": "to review",
    "failed": "failed",
    "skipped": "skipped",
    "pending": "not done yet",
}
"""Statuses in the words of the summary that ends a run."""

REASON_WORDS = {
    "empty": "the answer is empty",
    "cut_off": "the answer was cut off at max_new_tokens",
    "forced": "the model would have said something else without the limits of the type",
    "floor": "hardly any visual token passed the threshold",
    "page": "the picture of the page is doubtful",
    "value": "the answer stands for no value of the question's type, or for several",
    "confidence": "the confidence is too low",
}
"""Why an answer needs review, by the words of ``review_reasons``."""


def shown(text: str, most: int) -> str:
    """Return a text without control characters, and cut short if it is long; the end then says how long it is.

    Args:
        text: any text.
        most: largest number of characters to keep.
    """
    kept = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text[:most])
    return kept if len(text) <= most else f"{kept}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters in all)"


def reason_words(reasons: list[str] | None) -> list[str]:
    """Say in words why an answer needs review; a reason of another version of docpipe stays as it is.

    Args:
        reasons: column ``review_reasons`` of a row.
    """
    return [REASON_WORDS.get(reason, reason) for reason in reasons or ()]


def model_said(row: dict[str, Any]) -> str:
    """Say what the model had answered where a person has reviewed a row.

    Args:
        row: reviewed row of ``answers``, as :mod:`pipeline.viewing.published` reads it.
    """
    if row["model_answer"] == row["answer"]:
        return "the model had said the same"
    return f"the model had said: {row['model_answer'] or 'no answer'}"


def others_said(row: dict[str, Any]) -> str | None:
    """Say what other looks at the page answered, if it was something else; ``None`` where it was not.

    Args:
        row: row of ``answers``, as :mod:`pipeline.viewing.published` reads it.
    """
    said = dict.fromkeys(other["answer"] for other in row["other_answers"] or () if other["answer"] != row["answer"])
    return ", or ".join(answer or "no answer" for answer in said) or None


def pages_of(row: dict[str, Any]) -> list[int]:
    """Return the pages that an answer is about, mostly one; tables of an old version of docpipe name only that.

    Args:
        row: row of ``answers`` with a page.
    """
    return list(row["pages"] or [row["page"]])


def page_words(pages: list[int]) -> str:
    """Name one page, or several that were read together.

    Args:
        pages: numbers of the pages.
    """
    if len(pages) == 1:
        return f"page {pages[0]}"
    return f"pages {', '.join(map(str, pages[:-1]))} and {pages[-1]}"


def about(row: dict[str, Any]) -> list[str]:
    """Say where an answer stands and how sure it is, in a few short phrases.

    Args:
        row: row of ``answers``, as :mod:`pipeline.viewing.published` reads it.
    """
    phrases = [printable(row["document"])]
    if row["page"] is not None:
        phrases.append(page_words(pages_of(row)))
    phrases.append(STATUS_WORDS.get(row["status"], row["status"]))
    if row["confidence"] is not None:
        phrases.append(f"confidence {row['confidence']:.3f}")
    if row["reviewed"]:
        phrases.append("reviewed by a person")
    return phrases
