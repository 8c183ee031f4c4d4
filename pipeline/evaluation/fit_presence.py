"""Learns from labelled pages which of them hold the answer to a question, before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.confidence.presence import CLUES, Presence
from pipeline.evaluation.evaluate import Measured
from pipeline.evaluation.scaled import PENALTY, Scaled

FEWEST = 20
"""Fewest questions whose page holds the answer, and fewest whose page does not."""
_OF_TEXT = tuple(name in ("text_layer", "words_found") for name in CLUES)


def fit_presence(rows: Iterable[Measured]) -> Presence | None:
    """Fit a logistic model of the clues of pruned pages, with half of the weight on pages that hold the answer.

    Each question counts twice: with the text layer of its page and without, since users also bring scans.

    Args:
        rows: answers in all modes.

    Returns:
        The model; ``None`` where there are too few questions of either kind.
    """
    scored = [(row.clues, row.answerable) for row in rows if row.clues is not None]
    clues = np.array([one for one, _ in scored]).reshape(-1, len(CLUES))
    holds = np.array([answerable for _, answerable in scored], bool)
    held, absent = int(holds.sum()), int((~holds).sum())
    if min(held, absent) < FEWEST:
        return None
    from sklearn.linear_model import LogisticRegression

    scans = np.where(_OF_TEXT, 0.0, clues)
    scaled = Scaled.of(np.concatenate([clues, scans]))
    model = LogisticRegression(C=PENALTY, max_iter=5000, class_weight="balanced")
    model.fit(scaled.matrix, np.tile(holds, 2))
    terms = scaled.terms(CLUES, model.coef_[0])
    return Presence(terms=terms, bias=float(model.intercept_[0]), held=held, absent=absent)
