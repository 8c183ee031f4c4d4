"""What a family draws beyond the fixed lists: values, labels and looks."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.samples.fields import FIELDS, Field
from pipeline.samples.held_out_words import WordLists
from pipeline.samples.open_values import KIND_OF_FIELD, draw_value

OPEN = "open_"  # keys of fields with a label on no list begin so
_UNPRINTED = 4  # labels that are not on the page and may be asked for


@dataclass(frozen=True)
class Opening:
    """Shares of what is open, and what it is drawn from.

    Attributes:
        values: share of values in open forms.
        labels: share of fields with a label beyond the fixed fields.
        looks: share of pages of open looks.
        words: lists behind names of people, places, companies and goods.
        draw_label: draws a label and the kind of its value.
        faces: regular and bold font of each face.
        foreign: share of pages without any labelled field.
    """

    values: float
    labels: float
    looks: float
    words: WordLists
    draw_label: Callable[[random.Random], tuple[str, str]]
    faces: tuple[tuple[str, str], ...]
    foreign: float = 0.0


def draw_fields(rng: random.Random, opening: Opening, count: int) -> list[tuple[Field, str]]:
    """Fields of a page with their values; no label is part of another."""
    known = rng.sample(FIELDS, count)
    values: list[tuple[Field, str]] = []
    labels: list[str] = []
    for number in range(count):
        field = known[number]
        if rng.random() < opening.labels:
            label, kind = opening.draw_label(rng)
            if any(overlap(label, other) for other in labels):
                continue
            value = draw_value(rng, kind, opening.words)
            values.append((Field(f"{OPEN}{number}", label, (label,), lambda _: ""), value))
        elif any(overlap(field.label, other) for other in labels):
            continue
        else:
            is_open = rng.random() < opening.values
            value = draw_value(rng, KIND_OF_FIELD[field.key], opening.words) if is_open else field.draw(rng)
            values.append((field, value))
        if values[-1][0].key.startswith(OPEN):
            labels.append(values[-1][0].label)
    return values


def unprinted_labels(rng: random.Random, opening: Opening, printed: Sequence[str]) -> tuple[str, ...]:
    """Labels that no label of the page contains or is contained in; none where all labels are fixed."""
    if opening.labels == 0:
        return ()
    drawn = (opening.draw_label(rng)[0] for _ in range(_UNPRINTED))
    return tuple(label for label in drawn if not any(overlap(label, other) for other in printed))


def overlap(one: str, other: str) -> bool:
    """Whether all words of one label are in the other."""
    a, b = set(one.lower().split()), set(other.lower().split())
    return a <= b or b <= a
