"""Fits a calibration on answers that are known to be right or wrong, with scikit-learn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from pipeline.confidence.calibration import Calibration, FittedOn
from pipeline.confidence.features import FEATURES
from pipeline.confidence.terms import Numbers
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Measured, features_of
from pipeline.evaluation.metrics import value_equal
from pipeline.evaluation.scaled import PENALTY, Scaled
from pipeline.questions.values import Reading

FEWEST, FEWEST_OF_A_KIND = 200, 20
_FOLDS = 5


def fit_calibration(sets: Sequence[Sequence[Measured]], fitted_on: FittedOn) -> Calibration:
    """Fit a logistic model, and on top of it an isotonic curve on scores of answers that it was not fitted on.

    Each answer counts eight times: under its type and as text, beside the others on its page and alone, on a page with
    a text layer and without, since a user may declare a type or none, ask one question or many, and bring scans.

    Args:
        sets: answers to each data set, in the modes of ``fitted_on``.
        fitted_on: what the calibration is fitted on.

    Raises:
        UsageError: there are too few answers, or too few right or wrong ones.
    """
    rows = [row for mine in sets for row in mine]
    wrong = sum(not row.value_equal for row in rows)
    if len(rows) < FEWEST or min(wrong, len(rows) - wrong) < FEWEST_OF_A_KIND:
        raise UsageError(
            f"expected at least {FEWEST} answers, {FEWEST_OF_A_KIND} of them right and {FEWEST_OF_A_KIND} wrong; found "
            f"{len(rows)}, of which {wrong} are wrong; name more or other labelled pages with --data"
        )
    matrices, right = [], []
    for alone, scanned in itertools.product((False, True), repeat=2):
        for whole in sets:
            mine = [replace(row, on_page=None) for row in whole] if scanned else whole
            matrices.append(features_of(mine, [Reading(row.type) for row in mine], alone))
            right += [row.value_equal for row in mine]
            text = [replace(row, value_error=None) for row in mine]
            matrices.append(features_of(text, [Reading()] * len(mine), alone))
            right += [value_equal(row.answer, row.gold, Reading()) for row in mine]
    same = np.concatenate([np.tile(np.arange(len(whole)), 2) + begin for begin, whole in _begins(sets)] * 4)
    return _fitted(np.concatenate(matrices), np.array(right), same, fitted_on)


def _begins(sets: Sequence[Sequence[Measured]]) -> Iterator[tuple[int, Sequence[Measured]]]:
    """Yield each data set with the number of answers before it."""
    yield from zip(itertools.accumulate((len(whole) for whole in sets), initial=0), sets, strict=False)


def check_scikit_learn() -> None:
    """Check that scikit-learn is there, before anything is asked.

    Raises:
        UsageError: it is not.
    """
    if find_spec("sklearn") is None:
        raise UsageError("docpipe calibrate needs scikit-learn; install the extra: pip install -e '.[calibrate]'")


def _fitted(matrix: Numbers, right: npt.NDArray[np.bool_], same: npt.NDArray[np.int64], on: FittedOn) -> Calibration:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    scaled = Scaled.of(matrix)
    model = LogisticRegression(C=PENALTY, max_iter=5000)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)  # in which an answer stays in one piece
    unseen = cross_val_predict(model, scaled.matrix, right, groups=same, cv=folds, method="decision_function")
    model.fit(scaled.matrix, right)
    terms = scaled.terms(FEATURES, model.coef_[0])
    return Calibration(fitted_on=on, terms=terms, bias=float(model.intercept_[0]), knots=_knots(unseen, right))


def _knots(scores: Numbers, right: npt.NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """Fit an isotonic curve through the middle of each of its steps, so that it also ranks within a step.

    A step of n answers of which k are right stands for (k + 1/2) / (n + 1), since no number of answers proves that all
    are right. Beyond the middle of the first and the last step, the curve goes on to one right answer less or more.
    """
    from sklearn.isotonic import IsotonicRegression

    steps = IsotonicRegression().fit(scores, right).predict(scores)
    found: list[tuple[float, float]] = []
    for step in np.unique(steps):
        mine = steps == step
        count, good = int(mine.sum()), int(right[mine].sum())
        found.append((float(scores[mine].mean()), (good + 0.5) / (count + 1)))
        if step == steps.min():
            found.insert(0, (float(scores.min()), max(good - 0.5, 0.5) / (count + 1)))
        if step == steps.max():
            found.append((float(scores.max()), min(good + 1.5, count + 0.5) / (count + 1)))
    knots = found[:1]
    for score, share in found[1:]:  # the half of an answer may move a tiny step past its neighbour
        if score > knots[-1][0] and share > knots[-1][1]:
            knots.append((score, share))
    return tuple(knots)
