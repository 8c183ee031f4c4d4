"""Adds the confidence to published answers, by the present calibration, and lets doubtful ones need review.

A part keeps the signals that the model gave. So a calibration, or the confidence below which answers need review, may
change at any time, and nothing is asked again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.confidence.calibration import Calibration
from pipeline.confidence.features import features, sureness_of_others
from pipeline.output.typed import READINGS, read_otherwise, signatures, with_columns, with_values
from pipeline.questions.values import Reading

# Footer entry of a file of answers: fingerprint of the calibration and what is doubtful, empty without one.
_CALIBRATION = "calibration"
_FALLBACK = Reading()
_ANSWERS = ("answered", "not_answerable", "needs_review")
_LIKELIER_WRONG = 0.5  # answers below this confidence need review where nobody says what else


def as_published(rows: pa.Table, readings: Mapping[str, Reading], calibration: Calibration | None) -> pa.Table:
    """Add all columns that are made at publication: the values and the confidence.

    Calibrations are fitted on questions about one page. An answer about several together has no confidence, and so
    needs review wherever ``review_below`` demands one. Elsewhere answers need it that are likelier wrong than right.

    Args:
        rows: answers, with the columns that a part holds; more are replaced.
        readings: how to read the answers, by question id; those of other questions are text.
        calibration: calibration of the model; ``None`` leaves the confidence null.
    """
    return _with_confidence(with_values(rows, readings), readings, calibration)


def footer_of(rows: pa.Table, readings: Mapping[str, Reading], calibration: Calibration | None) -> dict[str, str]:
    """Say how the answers of some rows are published, for the footer of their file."""
    return {READINGS: signatures(rows, readings), _CALIBRATION: _fingerprint(calibration)}


def published_otherwise(
    footer: Mapping[str, str], readings: Mapping[str, Reading], calibration: Calibration | None
) -> list[str]:
    """List the questions of a file of ``answers`` whose rows have to be made again.

    Args:
        footer: footer of the file.
        readings: how answers are read now; a question that is not asked any more is read as before.
        calibration: present calibration; where it is another one, all questions are listed.
    """
    if footer[_CALIBRATION] != _fingerprint(calibration):
        return list(json.loads(footer[READINGS]))
    return read_otherwise(footer, readings)


def footer_after(
    footer: Mapping[str, str],
    changed: Sequence[str],
    readings: Mapping[str, Reading],
    calibration: Calibration | None,
) -> dict[str, str]:
    """Say how the answers of a file are published once those to some questions are made again."""
    then: dict[str, str] = json.loads(footer[READINGS])
    now = {name: readings[name].signature for name in changed if name in readings}
    return {READINGS: json.dumps({**then, **now}), _CALIBRATION: _fingerprint(calibration)}


def published_again(
    rows: pa.Table,
    footer: Mapping[str, str],
    readings: Mapping[str, Reading],
    calibration: Calibration | None,
) -> pa.Table:
    """Make the columns of a file again; answers to questions that are not asked any more are read as before.

    Args:
        rows: all rows of the file, since the answers on a page say something of each other.
        footer: footer of the file.
        readings: how to read the answers.
        calibration: present calibration.
    """
    then: dict[str, str] = json.loads(footer[READINGS])
    before = {name: Reading.of_signature(signature) for name, signature in then.items()}
    return as_published(rows, {**before, **readings}, calibration)


def _with_confidence(rows: pa.Table, readings: Mapping[str, Reading], calibration: Calibration | None) -> pa.Table:
    read_as = [readings.get(name, _FALLBACK) for name in rows["question_id"].to_pylist()]
    pages = [of or [] for of in rows["pages"].to_pylist()]
    found = np.full(len(rows), np.nan)
    together = [len(of) > 1 for of in pages]
    if calibration is not None and len(rows):
        places = [(document, *of) for document, of in zip(rows["document_id"].to_pylist(), pages, strict=True)]
        found = calibration.confidence(features(rows, read_as, sureness_of_others(rows, places)))
    confidence = pa.array(found, pa.float64(), mask=np.array(together, bool) | np.isnan(found))
    rows = with_columns(rows, {"confidence": confidence})
    is_demanded = calibration is not None or any(one.review_below is not None for one in read_as)
    return _with_doubts(rows, read_as, together) if is_demanded else rows


def _with_doubts(rows: pa.Table, read_as: Sequence[Reading], together: Sequence[bool]) -> pa.Table:
    """Let answers need review that are less sure than their question demands, or likelier wrong than right."""
    columns: dict[str, list[Any]] = {"status": [], "review_reasons": []}
    given = (rows[name].to_pylist() for name in ("confidence", "status", "review_reasons"))
    for reading, of_several, confidence, status, reasons in zip(read_as, together, *given, strict=True):
        least = reading.review_below
        sure = 0.0 if least is not None and of_several and status in _ANSWERS else confidence
        is_doubtful = sure is not None and sure < (_LIKELIER_WRONG if least is None else least)
        columns["status"].append("needs_review" if is_doubtful else status)
        columns["review_reasons"].append([*reasons, "confidence"] if is_doubtful else reasons)
    return with_columns(rows, columns)


def _fingerprint(calibration: Calibration | None) -> str:
    return "" if calibration is None else f"{calibration.fingerprint} {_LIKELIER_WRONG}"
