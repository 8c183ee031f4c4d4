"""Answers a question by a rule on the words of a page: what stands right of, or below, the label that it names.

This is what people build on OCR for forms, and what a model that reads pages has to beat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from pipeline.answering.page_text import PageText

# Chosen on drawn pages of other seeds than those of docs/quality.md.
_ALIKE = 80.0  # likeness of a label and the name in the question, in 0..100, from which on they are the same
_PART, _SHORTEST = 80.0, 3  # likeness of a label that is a part of the name, as Total is of total amount; its letters
_FAR = 9.0  # heights of a label by which a value to its right may be away, before one right below is preferred
_BELOW = 1.5  # heights of a label by which a value may stand below it

_ASKING = re.compile(
    r"^(?:(?:what|which|who|whom|whose|when|where|how|much|many|is|are|was|were|does|did|the|a|an|of|in|on|for|to|"
    r"please|find|give|name|tell|me)\s+)+",
    re.IGNORECASE,
)
_JOINT = re.compile(r"(?<=[^\W\d_])(?=:\S)|\s+|(?<=[^\W\d_]:)(?=\S)")  # where a label may end
_MARK = re.compile(r"^(?::|[.=-](?=\s))\s*")  # between a label and its value

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Printed:
    """Words in a row without a gap between them.

    Attributes:
        text: the words, with blanks.
        box: ``x0, y0, x1, y1`` in points.
    """

    text: str
    box: Box


def nearest_value(question: str, page: PageText) -> Printed | None:
    """Find the value of the label that a question names; ``None`` where no label is like it, or has no value.

    Args:
        question: text of the question.
        page: words of the page.
    """
    name = _folded(_ASKING.sub("", question.strip().rstrip("?").strip()))
    printed = list(_in_a_row(page))
    best, label, value = 0.0, None, ""
    for one in printed:
        for end in [joint.start() for joint in _JOINT.finditer(one.text)] + [len(one.text)]:
            alike = _likeness(_folded(one.text[:end]), name)
            if alike > best:
                best, label, value = alike, one, _MARK.sub("", one.text[end:].strip())
    if label is None or best < _ALIKE:
        return None
    return Printed(value, label.box) if value else _beside(label, printed)


def _in_a_row(page: PageText) -> Iterator[Printed]:
    """Yield the words of a page that stand together, by rows from the top."""
    order, start = page.orders[1][0], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or not page.near(order[end - 1], order[end]):
            words = list(order[start:end])
            boxes = page.boxes[words]
            x0, y0 = boxes[:, :2].min(0).tolist()
            x1, y1 = boxes[:, 2:].max(0).tolist()
            yield Printed(" ".join(page.words[word] for word in words), (x0, y0, x1, y1))
            start = end


def _beside(label: Printed, printed: Sequence[Printed]) -> Printed | None:
    """Choose what stands right of a label, or below it where that is far away."""
    x0, y0, x1, y1 = label.box
    height = y1 - y0
    others = [one for one in printed if one is not label and not one.text.endswith(":")]
    right = [one for one in others if one.box[0] > x0 and min(y1, one.box[3]) - max(y0, one.box[1]) > 0.5 * height]
    below = [
        one
        for one in others
        if one.box[1] > (y0 + y1) / 2 and one.box[1] - y1 < _BELOW * height and one.box[0] < x1 and one.box[2] > x0
    ]
    first = min(right, key=lambda one: one.box[0], default=None)
    under = min(below, key=lambda one: one.box[1], default=None)
    if first is not None and (under is None or first.box[0] - x1 <= _FAR * height):
        return first
    return under


def _likeness(label: str, name: str) -> float:
    """Tell how much a label is like the name of what is asked for, in 0..100, both folded."""
    ratio = fuzz.ratio(label, name)
    return max(ratio, _PART + ratio / 100) if len(label) >= _SHORTEST and label in name else ratio


def _folded(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return "".join(char for char in text.casefold() if char.isalnum())
