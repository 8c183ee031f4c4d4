"""The named families of drawn documents: today's, and those whose values, labels and looks training never sees."""

from __future__ import annotations

import random
from dataclasses import replace

from pipeline.samples.document import BASE_FONTS, Family
from pipeline.samples.held_out_labels import HELD_OUT_LABELS
from pipeline.samples.held_out_words import HELD_OUT_WORDS
from pipeline.samples.opened import Opening

# Fonts of the package pymupdf-fonts, which the held-out looks need; training uses none of them.
HELD_OUT_FACES = (
    ("figo", "figbo"), ("fimo", "fimbo"), ("ubuntu", "ubuntubo"), ("ubuntm", "ubuntmbo"), ("notos", "notosbo"),
    ("spacemo", "spacembo"), ("cascadia", "cascadiab"),
)  # fmt: skip
BASE_FACES = (("helv", "hebo"), ("tiro", "tibo"), ("cour", "cobo"))


def held_out_label(rng: random.Random) -> tuple[str, str]:
    """A label that training never sees, and the kind of its value."""
    return rng.choice(HELD_OUT_LABELS)


_OPEN = Opening(values=1.0, labels=0.0, looks=0.0, words=HELD_OUT_WORDS, draw_label=held_out_label, faces=BASE_FACES)
FAMILIES = {
    "known": Family(),
    "open": Family(fonts=BASE_FONTS, opening=_OPEN),
    "labels": Family(fonts=BASE_FONTS, opening=replace(_OPEN, values=0.5, labels=0.6)),
    "foreign": Family(opening=replace(_OPEN, foreign=1.0)),
    "looks": Family(opening=replace(_OPEN, values=0.5, looks=1.0, faces=HELD_OUT_FACES)),
}
