"""Turns rows of answers into the features of a calibration."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import get_args

import numpy as np
import pyarrow as pa

from pipeline.confidence.terms import Numbers
from pipeline.questions.no_answer import says_no_answer
from pipeline.questions.values import AnswerType, Reading

FEATURE_COLUMNS = (
    *("answer", "value_error", "logprob_mean", "logprob_min", "logprob_first", "margin_min"),
    *("glimpse_mass", "glimpse_spread", "floor_hit", "retention", "new_tokens", "on_page", "other_answers"),
)
"""Columns of ``answers`` that features are computed from."""
_KINDS = tuple(kind for kind in get_args(AnswerType) if kind != "text")
_LEAST = 1e-6  # surprise below which float32 tells nothing
_USUAL, _WEIGHT = 4.0, 2  # sureness of answers on a page without others, and how many of them it counts for
FEATURES = (
    *("sure_mean", "sure_min", "sure_first", "sure_all", "margin", "length"),
    *("no_answer", "no_answer_sure", "no_answer_mass", "no_answer_spread"),
    *("pruned", "glimpse_mass", "glimpse_spread", "retention", "floor_hit"),
    *("value_error", "on_page", "not_on_page"),
    *("looks_agree", "looks_differ"),
    *("others", "alone", "alone_sure"),
    *(f"type_{kind}" for kind in _KINDS),
)
"""Names of the features, in the order of :func:`features`."""


def sureness_of_others(rows: pa.Table, pages: Sequence[Hashable]) -> Numbers:
    """Compute how sure the model was of the other answers on the same page, ``[rows]``.

    A page that is unlike those which the model can read makes most of its answers doubtful, also those of which the
    model is sure. Few others count less; not a number stands for none.

    Args:
        rows: answers with ``FEATURE_COLUMNS``.
        pages: page of each row.
    """
    sure = _sureness(_floats(rows, "logprob_mean")) - _USUAL
    known = ~np.isnan(sure)
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(page, len(numbers)) for page in pages], int)
    counts = np.bincount(group, weights=known)[group] - known
    sums = np.bincount(group, weights=np.where(known, sure, 0.0))[group] - np.where(known, sure, 0.0)
    others: Numbers = np.where(counts > 0, sums / (counts + _WEIGHT), np.nan)
    return others


def features(rows: pa.Table, read_as: Sequence[Reading], others: Numbers) -> Numbers:
    """Compute the features ``[rows, len(FEATURES)]``; a row that the model did not answer is not a number.

    What is not known is 0, as for ``glimpse_mass`` where nothing was pruned, and for ``on_page`` without a text layer.

    Args:
        rows: answers with ``FEATURE_COLUMNS``.
        read_as: how the answer of each row is read.
        others: result of :func:`sureness_of_others`; not a number where there are none.
    """
    alone = np.isnan(others).astype(np.float64)
    answers, others_said = rows["answer"].to_pylist(), rows["other_answers"].to_pylist()
    said = [{one["answer"] for one in other or ()} for other in others_said]
    looks = np.array([1.0 + len(other or ()) for other in others_said])
    mean, new_tokens = _floats(rows, "logprob_mean"), _floats(rows, "new_tokens") / looks  # of each look
    none = _ones(
        [answer is not None and says_no_answer(answer, r.choices) for answer, r in zip(answers, read_as, strict=True)]
    )
    scored = ~np.isnan(_floats(rows, "glimpse_mass"))
    mass, spread = _known(rows, "glimpse_mass"), _known(rows, "glimpse_spread")
    sure_all = _sureness(mean * new_tokens)
    on_page = rows["on_page"].to_pylist()
    columns = [
        _sureness(mean),
        _sureness(_floats(rows, "logprob_min")),
        _sureness(_floats(rows, "logprob_first")),
        sure_all,
        np.log1p(np.maximum(_floats(rows, "margin_min"), 0.0)),
        np.log(new_tokens),
        none,
        none * sure_all,
        none * mass,
        none * spread,
        scored.astype(np.float64),
        mass,
        spread,
        np.log(np.maximum(_floats(rows, "retention"), 1e-4)),
        _ones(rows["floor_hit"].to_pylist()),
        _ones([error is not None for error in rows["value_error"].to_pylist()]),
        _ones([found is True for found in on_page]),
        _ones([found is False for found in on_page]),
        _ones([answer in mine for answer, mine in zip(answers, said, strict=True)]),
        _ones([bool(mine - {answer}) for answer, mine in zip(answers, said, strict=True)]),
        np.nan_to_num(others, nan=0.0),
        alone,
        alone * sure_all,
        *(_ones([reading.kind == kind for reading in read_as]) for kind in _KINDS),
    ]
    return np.stack(columns, axis=1)


def _sureness(logprob: Numbers) -> Numbers:
    """Return a measure that is even in how often such answers are right: the log of one over the surprise."""
    sureness: Numbers = -np.log(_LEAST - np.minimum(logprob, 0.0))
    return sureness


def _floats(rows: pa.Table, name: str) -> Numbers:
    """Return a column with nulls as not a number."""
    values: Numbers = rows[name].cast(pa.float64()).to_numpy()
    return values


def _known(rows: pa.Table, name: str) -> Numbers:
    return np.nan_to_num(_floats(rows, name), nan=0.0)


def _ones(flags: Sequence[object]) -> Numbers:
    return np.array([1.0 if flag else 0.0 for flag in flags])
