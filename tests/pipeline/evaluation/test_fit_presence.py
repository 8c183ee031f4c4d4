"""What tells pages that hold an answer is learnt from labelled pages, and says what it means."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.confidence.presence import CLUES
from pipeline.evaluation.evaluate import Measured
from pipeline.evaluation.fit_presence import fit_presence
from pipeline.evaluation.ranking import auroc, calibration_error
from tests.support.measured import measured


def rows(seed: int, held: int, absent: int) -> list[Measured]:
    """Pages with an answer have a higher peak on average, and more of the words."""
    rng = np.random.default_rng(seed)
    made = []
    for answerable in [True] * held + [False] * absent:
        peak = float(rng.normal(2.0 if answerable else 0.0, 1.5))
        words = float(rng.random() < (0.8 if answerable else 0.3))
        made.append(measured(mode="glimpse", answerable=answerable, clues=(peak, peak - 1, 0.0, 0.5, 1.0, words)))
    return made


def test_the_probability_of_other_pages_is_their_share_of_answers_where_half_hold_one() -> None:
    presence = fit_presence([*rows(0, 3000, 500), measured()])
    assert presence is not None
    assert (presence.held, presence.absent) == (3000, 500)
    others = rows(1, 2000, 2000)
    found = presence.probabilities(np.array([row.clues for row in others])).tolist()
    holds = [row.answerable for row in others]
    ranked = auroc(found, holds)
    assert ranked is not None
    assert ranked > 0.85
    assert calibration_error(found, holds) < 0.08  # half of what it learnt from were scans, where words tell nothing
    assert presence.terms["words_found"].weight > 0 < presence.terms["peak"].weight
    assert fit_presence(rows(0, 3000, 500)) == presence


@pytest.mark.parametrize(("held", "absent"), [(19, 300), (300, 19), (0, 0)])
def test_too_few_of_either_kind_teach_nothing(held: int, absent: int) -> None:
    assert fit_presence(rows(0, held, absent)) is None


def test_unpruned_answers_have_no_clues() -> None:
    assert fit_presence([measured(mode="off", answerable=bool(n % 2)) for n in range(100)]) is None
    assert len(CLUES) == 6
