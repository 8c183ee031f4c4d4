"""A calibration that is fitted on answers means what it says of others like them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.confidence.calibration import Calibration, parse_calibration
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Measured, with_confidence
from pipeline.evaluation.fit_calibration import fit_calibration
from pipeline.evaluation.ranking import auroc, calibration_error
from pipeline.records import OtherAnswer
from tests.support.calibrations import FITTED_ON
from tests.support.measured import measured


def answers(seed: int, count: int) -> list[Measured]:
    """A model that is too sure of itself, and of pruned answers the more so the less their glimpse is spread."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        logprob, spread = -float(rng.gamma(0.4, 1.0)), float(rng.random())
        pruned = bool(rng.random() < 0.5)
        right = bool(rng.random() < 0.95 * math.exp(3 * logprob) * (0.1 + 0.9 * spread if pruned else 1.0))
        made.append(
            measured(
                document=f"{number // 4}.pdf",
                mode="glimpse" if pruned else "off",
                answer="x" if right else "y",
                exact=right,
                value_equal=right,
                confidence_raw=math.exp(logprob),
                logprob_mean=logprob,
                logprob_min=1.5 * logprob,
                logprob_first=logprob,
                margin_min=float(rng.random()),
                glimpse_mass=0.9 if pruned else None,
                glimpse_spread=spread if pruned else None,
            )
        )
    return made


def looked_at_again(seed: int, count: int) -> list[Measured]:
    """Answers that are equally sure, and right in 19 of 20 cases where both looks agree, in 12 of 20 where not."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        agree = bool(rng.random() < 0.5)
        right = bool(rng.random() < (0.95 if agree else 0.6))
        answer = "x" if right else "y"
        other = OtherAnswer(answer if agree else "z", 0.5, 2)
        made.append(
            measured(document=f"{number}.pdf", answer=answer, exact=right, value_equal=right, other_answers=(other,))
        )
    return made


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    return fit_calibration([answers(0, 4000)], FITTED_ON)


def test_the_confidence_of_other_answers_is_their_share_of_right_ones(fitted: Calibration) -> None:
    rows = with_confidence(answers(1, 4000), fitted)
    right = [row.value_equal for row in rows]
    sure = [row.confidence for row in rows if row.confidence is not None]
    raw = [row.confidence_raw for row in rows]
    assert calibration_error(raw, right) > 0.1
    assert calibration_error(sure, right) <= 0.03
    ours, theirs = auroc(sure, right), auroc(raw, right)
    assert ours is not None
    assert theirs is not None
    assert ours > theirs + 0.01  # it heeds the glimpse
    assert len(set(sure)) > 0.9 * len(sure)  # it ranks within the steps of the curve, too


def test_the_same_answers_give_the_same_json_which_comes_back(fitted: Calibration) -> None:
    again = fit_calibration([answers(0, 4000)], FITTED_ON)
    assert again.to_json() == fitted.to_json()
    assert parse_calibration(fitted.to_json().encode(), "c.json") == fitted


def test_a_mode_that_it_was_not_fitted_on_gets_no_confidence(fitted: Calibration) -> None:
    rows = with_confidence([measured(mode=mode) for mode in ("off", "random", "glimpse")], fitted)
    assert [row.confidence is None for row in rows] == [False, True, False]


@pytest.mark.parametrize(("right", "wrong"), [(199, 0), (300, 19), (19, 300)])
def test_too_few_answers_are_refused(right: int, wrong: int) -> None:
    rows = [measured() for _ in range(right)] + [measured(answer="y", value_equal=False) for _ in range(wrong)]
    with pytest.raises(UsageError, match=rf"expected at least 200 answers.*found {right + wrong}, of which {wrong}"):
        fit_calibration([rows], FITTED_ON)


def test_looks_that_agree_make_an_answer_surer() -> None:
    fitted = fit_calibration([looked_at_again(0, 2000)], FITTED_ON)
    rows = with_confidence(looked_at_again(1, 200), fitted)
    agreed = [row.other_answers is not None and row.other_answers[0].answer == row.answer for row in rows]
    assert 50 < sum(agreed) < 150
    for row, agree in zip(rows, agreed, strict=True):
        assert row.confidence == pytest.approx(0.95 if agree else 0.6, abs=0.05)
