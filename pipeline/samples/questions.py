"""Questions about a drawn document, with their answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.samples.document import FieldTruth, Sample
from pipeline.samples.fields import FIELD_OF_KEY, FIELDS
from pipeline.samples.open_values import KIND_OF_FIELD
from pipeline.samples.opened import OPEN, overlap
from pipeline.samples.text import Box

ABSENT = "n/a"
_TABLE_HEADS = frozenset({"item", "qty"})  # a table prints these names too: asking for an absent one would be unfair
_TYPES = {"date": "date", "money": "money"}  # of kinds of values; all other answers are text
_FORMS = ("What is the {}?", "What is the {}?", "What is the {}", "The {}?", "{}?", "{}")


@dataclass(frozen=True)
class QuestionTruth:
    """A question with its answer; `box` is where the answer is printed (PDF points), None for an absent field."""

    text: str
    key: str
    answer: str
    box: Box | None

    @property
    def type(self) -> str:
        """The type of the answer, as a questions file names it."""
        return _TYPES.get(KIND_OF_FIELD.get(self.key, ""), "text")


def phrase(rng: random.Random, names: Sequence[str]) -> str:
    """A way to ask for a field that has these names, in one of the long and short forms."""
    form = rng.choice(_FORMS)
    text = form.format(rng.choice(names))
    return text[0].upper() + text[1:] if rng.random() < 0.7 else text


def ask(sample: Sample, seed: int, absent: int) -> list[QuestionTruth]:
    """One question for each field of the page, then up to `absent` for fields that are not on it."""
    rng = random.Random(seed)
    questions = [QuestionTruth(phrase(rng, field_names(f)), f.key, f.value, f.value_box) for f in sample.fields]
    missing = absent_names(sample)
    chosen = rng.sample(missing, min(absent, len(missing)))
    return questions + [QuestionTruth(phrase(rng, names), key, ABSENT, None) for key, names in chosen]


def field_names(field: FieldTruth) -> tuple[str, ...]:
    """What a question may call a field: its names, or its label as it is printed and, less often, in lower case."""
    known = FIELD_OF_KEY.get(field.key)
    return (*(field.label,) * 4, field.label.lower()) if known is None else known.asks


def absent_names(sample: Sample) -> list[tuple[str, tuple[str, ...]]]:
    """Key and names of the fields that may be asked for and are not on the page."""
    present = {f.key for f in sample.fields}
    opened = [f.label for f in sample.fields if f.key.startswith(OPEN)]
    known = [
        (field.key, field.asks)
        for field in FIELDS
        if field.key not in present
        and not (sample.has_table and field.key in _TABLE_HEADS)
        and not any(overlap(name, label) for name in (field.label, *field.asks) for label in opened)
    ]
    return known + [(f"{OPEN}absent", (label,)) for label in sample.unprinted]
