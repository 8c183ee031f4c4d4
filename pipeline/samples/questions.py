"""Questions about a drawn document, with their answers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.samples.document import Sample
from pipeline.samples.fields import FIELD_OF_KEY, FIELDS
from pipeline.samples.text import Box

ABSENT = "n/a"
_TABLE_HEADS = frozenset({"item", "qty"})  # a table prints these names too: asking for an absent one would be unfair
_FORMS = ("What is the {}?", "What is the {}?", "What is the {}", "The {}?", "{}?", "{}")


@dataclass(frozen=True)
class QuestionTruth:
    """A question with its answer; `box` is where the answer is printed (PDF points), None for an absent field."""

    text: str
    key: str
    answer: str
    box: Box | None


def phrase(rng: random.Random, key: str) -> str:
    """A way to ask for a field, in one of the long and short forms."""
    form = rng.choice(_FORMS)
    text = form.format(rng.choice(FIELD_OF_KEY[key].asks))
    return text[0].upper() + text[1:] if rng.random() < 0.7 else text


def ask(sample: Sample, seed: int, absent: int) -> list[QuestionTruth]:
    """One question for each field of the page, then up to `absent` for fields that are not on it."""
    rng = random.Random(seed)
    questions = [QuestionTruth(phrase(rng, f.key), f.key, f.value, f.value_box) for f in sample.fields]
    missing = absent_keys(sample)
    chosen = rng.sample(missing, min(absent, len(missing)))
    return questions + [QuestionTruth(phrase(rng, key), key, ABSENT, None) for key in chosen]


def absent_keys(sample: Sample) -> list[str]:
    """Fields that may be asked for and are not on the page."""
    present = {f.key for f in sample.fields}
    return [
        field.key
        for field in FIELDS
        if field.key not in present and not (sample.has_table and field.key in _TABLE_HEADS)
    ]
