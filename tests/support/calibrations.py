"""Made-up calibrations, which need no answers and no scikit-learn."""

from __future__ import annotations

import math
from typing import Any

from pipeline.confidence.calibration import Calibration, FittedOn
from pipeline.confidence.features import FEATURES
from pipeline.confidence.presence import CLUES, Presence
from pipeline.confidence.terms import Term

FITTED_ON = FittedOn(
    fitted_at="2026-01-01T00:00:00+00:00",
    model="m",
    model_fingerprint="1234",
    glimpse="g",
    glimpse_fingerprint="5678",
    modes=("off", "glimpse"),
    dtype="float32",
    dpi=72,
    drop_blank=False,
    look_again=0.0,
    data=(),
)
_SHARES = (0.01, 0.1, 1 / 6, 0.2, 0.25, 1 / 3, 0.5, 0.75, 0.9, 0.99)


def believing(**changes: Any) -> Calibration:
    """A calibration that believes what the model says of itself: the confidence is ``confidence_raw``.

    ``changes`` override fields of ``FITTED_ON``.
    """
    knots = tuple((-math.log(1e-6 - math.log(share)), share) for share in _SHARES)
    terms = {name: Term(low=-99, high=99, mean=0, scale=1, weight=name == "sure_mean") for name in FEATURES}
    return Calibration(fitted_on=FITTED_ON.model_copy(update=changes), terms=terms, bias=0.0, knots=knots)


def word_reader(weight: float = 8.0) -> Presence:
    """A presence model that goes by the words of the question: half of them found is a probability of .5."""
    terms = {
        name: Term(
            low=-99, high=99, mean=0.5 if name == "words_found" else 0, scale=1, weight=weight * (name == "words_found")
        )
        for name in CLUES
    }
    return Presence(terms=terms, bias=0.0, held=20, absent=20)
