"""How the embedded model is trained: the phases, in order, with what each shows it and how fast it learns.

The shipped weights came from it (``pipeline/nano/CARD.md``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.nano.training.openings import open_looks, open_text
from pipeline.nano.training.pages import Asking
from pipeline.samples import Family
from pipeline.samples.document import BASE_FONTS
from pipeline.samples.opened import Opening

_SMALL = Family(
    fonts=BASE_FONTS, min_fields=3, max_fields=6, two_columns=0.0, table=0.0, free_text=0.15, size_pt=(224.0, 224.0)
)
_PAGE = Family(fonts=BASE_FONTS, size_pt=(280.0, 392.0), two_columns=0.2)
_SQUARE = Family(fonts=BASE_FONTS, size_pt=(392.0, 392.0), two_columns=0.7)
_WIDE = Family(fonts=BASE_FONTS, size_pt=(448.0, 280.0), two_columns=0.9)
_TALL = Family(fonts=BASE_FONTS, size_pt=(336.0, 504.0), two_columns=0.0, table=0.5, free_text=0.6)
_A4 = Family(
    fonts=BASE_FONTS, size_pt=(560.0, 784.0), max_fields=20, two_columns=0.4, table=0.6, free_text=0.7, max_cells=2240
)


@dataclass(frozen=True, slots=True)
class Source:
    """Pages of one size: their family, how many a batch has, and what is asked of each."""

    family: Family
    pages: int
    asking: Asking


@dataclass(frozen=True, slots=True)
class Lines:
    """Crops of real pages whose lines are asked about: how many a batch has, their size in pixels, what is asked."""

    crops: int
    height: int
    width: int
    asking: Asking


LINES = {
    "few_lines": Lines(8, 224, 448, Asking(most=4, absent=1, tokens=150)),
    "lines": Lines(4, 336, 896, Asking(most=8, absent=1, tokens=288)),
    "many_lines": Lines(2, 560, 896, Asking(most=10, absent=1, tokens=400)),
}
SOURCES = {
    "small": Source(_SMALL, 8, Asking(most=6, absent=1, tokens=176)),
    "page": Source(_PAGE, 4, Asking(most=10, absent=1, tokens=288)),
    "square": Source(_SQUARE, 3, Asking(most=10, absent=1, tokens=288)),
    "wide": Source(_WIDE, 3, Asking(most=10, absent=1, tokens=288)),
    "tall": Source(_TALL, 2, Asking(most=10, absent=1, tokens=288)),
    "a4": Source(_A4, 1, Asking(most=10, absent=1, tokens=288)),
}
# What training draws from is loaded when a step needs it.
OPENINGS: dict[str, Callable[[], Opening | None]] = {"known": lambda: None, "text": open_text, "looks": open_looks}
OPENED = {"known": 0.2, "text": 0.4, "looks": 0.4}  # shares of the batches
PAPER = 0.5  # share of the batches whose blank paper is seen


@dataclass(frozen=True, slots=True)
class Phase:
    """Some steps of one kind.

    Attributes:
        steps: how many.
        sources: shares of the sources a step is drawn from; ``text`` stands for crops full of drawn
            text, ``real`` for crops of real pages; those of ``LINES`` ask about the lines of such crops.
        rate: by which the learning rates are multiplied at its first step.
        last_rate: and behind its last one, linearly between them; the same when None.
        worn: share of the batches of drawn pages that look scanned.
        batch: how many times the pages of its source a batch has.
        tower: whether the vision tower learns; if not, it rests as it is.
    """

    steps: int
    sources: dict[str, float] = field(default_factory=dict)
    rate: float = 1.0
    last_rate: float | None = None
    worn: float = 0.0
    batch: int = 1
    tower: bool = True


_PAGES = {"small": 0.14, "page": 0.16, "square": 0.12, "wide": 0.12, "tall": 0.08, "a4": 0.06}
# Lines are found by their letters alone, which is learnt on few of them first, long after forms are.
_LINES = {"few_lines": 0.37, "lines": 0.22, "many_lines": 0.1}
_FORMS = {"small": 0.07, "page": 0.1, "square": 0.05, "wide": 0.05, "tall": 0.03, "a4": 0.01}
_ALL = {"text": 0.14, "real": 0.1, "lines": 0.08, **_PAGES}
PHASES = (
    Phase(775, {"text": 0.75, "real": 0.25}, rate=1.6, batch=4),
    Phase(1240, {"text": 0.2, "real": 0.1, "small": 0.65, "lines": 0.05}, rate=1.2, batch=4),
    Phase(4475, _ALL, rate=1.2, worn=0.05, batch=4),
    Phase(2035, _ALL, rate=1.2, last_rate=0.8, worn=0.05, batch=4),
    Phase(4034, _ALL, rate=0.8, last_rate=0.0, worn=0.25, batch=4),
    Phase(5000, _LINES | _FORMS, rate=0.8, worn=0.25, batch=4, tower=False),
    Phase(2500, _LINES | _FORMS, rate=0.8, last_rate=0.0, worn=0.25, batch=4, tower=False),
)
REPEATS, APART = 3, 150  # how many times a batch is shown, and how many new ones are shown in between
WARM_UP = 100
# At twice these rates the tower learns faster at first, and the answers worse: what is asked is forgotten in bursts.
MUON_RATE, ADAM_RATE = 0.01, 1.5e-3
MAX_GRAD_NORM = 5.0
TEXT_CROPS, TEXT_HEIGHT, TEXT_WIDTH = 8, 224, 448
MAX_SHIFT = 18  # rows or columns by which a question is moved, half of the time, as behind a larger page
WEIGHTS = {"reading": 0.8, "pointer": 0.7, "slot": 0.8, "tags": 0.25, "asked": 0.25, "along": 0.5}
