"""Figures of a confidence, by hand and beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.evaluation.ranking import aurc, auroc, calibration_error, coverage

SURE = [0.9, 0.8, 0.7, 0.6]


def test_by_hand() -> None:
    right = [True, True, False, True]
    assert auroc(SURE, right) == pytest.approx(2 / 3)
    assert aurc(SURE, right) == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    assert [coverage(SURE, right, error) for error in (0.0, 0.25, 0.3, 0.4)] == [0.5, 1.0, 1.0, 1.0]
    assert coverage(SURE, [False, True, True, True], 0.1) == 0.0
    assert calibration_error(SURE, right) == pytest.approx((0.1 + 0.2 + 0.7 + 0.4) / 4)


def test_of_equal_confidence_none_comes_first() -> None:
    right = [True, False, True, False]
    assert auroc([0.5] * 4, right) == 0.5
    assert aurc([0.5] * 4, right) == 0.5
    assert coverage([0.9, 0.5, 0.5, 0.5], [True, True, True, False], 0.1) == 0.25
    assert calibration_error([0.5] * 4, right) == 0.0


def test_without_a_wrong_answer_nothing_can_be_told_apart() -> None:
    assert auroc(SURE, [True] * 4) is None
    assert (aurc(SURE, [True] * 4), coverage(SURE, [True] * 4, 0.0)) == (0.0, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sure = rng.integers(0, 20, 200) / 20  # with ties
    right = rng.random(200) < sure
    assert auroc(sure.tolist(), right.tolist()) == pytest.approx(roc_auc_score(right, sure))


def test_a_confidence_of_one_is_in_the_last_bin() -> None:
    assert calibration_error([1.0, 1.0], [True, False]) == 0.5
