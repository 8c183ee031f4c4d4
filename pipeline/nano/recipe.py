"""How the embedded model is trained: the phases, in order, with what each shows it and how fast it learns.

A phase is a share of the steps; the numbers are those the shipped weights were made with (``docs/nano.md``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.samples import Family

FONTS = ("helv",)
_SMALL = Family(
    fonts=FONTS, min_fields=3, max_fields=6, two_columns=0.0, table=0.0, free_text=0.15, size_pt=(224.0, 224.0)
)
_PAGE = Family(fonts=FONTS, size_pt=(280.0, 392.0), two_columns=0.2)
_SQUARE = Family(fonts=FONTS, size_pt=(392.0, 392.0), two_columns=0.7)
_WIDE = Family(fonts=FONTS, size_pt=(448.0, 280.0), two_columns=0.9)
_TALL = Family(fonts=FONTS, size_pt=(336.0, 504.0), two_columns=0.0, table=0.5, free_text=0.6)


@dataclass(frozen=True, slots=True)
class Source:
    """Pages of one size: their family, how many a batch has, how many questions each is asked, and of those absent."""

    family: Family
    pages: int
    asked: int
    absent: int


SOURCES = {
    "small": Source(_SMALL, 16, 6, 1),
    "page": Source(_PAGE, 6, 10, 1),
    "square": Source(_SQUARE, 4, 10, 1),
    "wide": Source(_WIDE, 5, 10, 1),
    "tall": Source(_TALL, 4, 10, 1),
}


@dataclass(frozen=True, slots=True)
class Phase:
    """Some steps of one kind.

    Attributes:
        steps: how many.
        sources: shares of the sources a step is drawn from; ``text`` stands for crops full of text.
        rate: by which the learning rates are multiplied.
    """

    steps: int
    sources: dict[str, float] = field(default_factory=dict)
    rate: float = 1.0


_ANSWERS = {"small": 0.18, "page": 0.16, "square": 0.08, "wide": 0.09, "tall": 0.09}
PHASES = (
    Phase(2000, {"text": 1.0}, rate=2.0),
    Phase(500, {"text": 0.2, "small": 0.8}),
    Phase(2000, {"text": 0.4, **_ANSWERS}),
)
DECAY = 1500  # the rates fall to zero over the last steps
WARM_UP = 60
# At twice these rates the tower learns faster at first, and the answers worse: what is asked is forgotten in bursts.
MUON_RATE, ADAM_RATE = 0.01, 1.5e-3
CLIP = 5.0
TEXT_CROPS, TEXT_HEIGHT, TEXT_WIDTH = 8, 224, 448
MAX_SHIFT = 18  # rows or columns by which a question is moved, half of the time, as behind a larger page
WEIGHTS = {"reading": 0.8, "pointer": 0.7, "slot": 0.8, "tags": 0.25, "asked": 0.25}
