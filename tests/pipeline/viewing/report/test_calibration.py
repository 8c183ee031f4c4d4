from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.viewing.published import read_published
from pipeline.viewing.report.calibration import Bin, calibration, labelled
from tests.support.viewed import answer, review, write_output


def test_what_people_said_is_the_truth_and_the_latest_counts(tmp_path: Path) -> None:
    rows = [
        answer(unit_id="a", answer="1", confidence=0.9, status="needs_review"),
        answer(unit_id="b", answer="2", confidence=0.4),
        answer(unit_id="c", answer="3", confidence=None),
        answer(unit_id="d", answer="4", status="needs_review"),
    ]
    reviews = [
        review(said, unit_id=unit) for unit, said in (("a", "7"), ("b", "2"), ("c", "3"), ("a", " 1 "), ("gone", "1"))
    ]
    run = read_published(write_output(tmp_path, rows, reviews=reviews))
    assert labelled(run) == ([0.9, 0.4], [True, True])
    assert run.answers["status"].to_pylist() == ["answered", "answered", "answered", "needs_review"]


@pytest.mark.parametrize(
    ("model", "said", "right"),
    [
        ({"answer": "1,903.88", "value": "1903.88"}, "1903.88", True),
        ({"answer": "1,903.88", "value": "1903.88"}, "1903.8", False),
        ({"answer": "1903.88", "value": None}, "1903.88", True),
        ({"answer": "N/A.", "value": None, "status": "not_answerable"}, "n/a", True),
        ({"answer": "7", "value": "7"}, "n/a", False),
        ({"answer": "n/a", "value": None, "status": "not_answerable"}, "7", False),
    ],
)
def test_answers_of_the_same_value_are_the_same(tmp_path: Path, model: dict[str, Any], said: str, right: bool) -> None:
    folder = write_output(tmp_path, [answer(**model)], reviews=[review(said)], types={"total": "number"})
    assert labelled(read_published(folder)) == ([0.9], [right])


def test_confidence_beside_truth() -> None:
    found = calibration(
        [0.95, 0.95, 0.95, 0.95, 0.25, 0.25, 1.0, 0.0], [True, True, True, False, False, True, True, False]
    )
    assert found is not None
    assert [(one.rows, one.right) for one in found.bins] == [(1, 0.0), (2, 0.5), (5, 0.8)]
    assert found.bins[-1].confidence == pytest.approx(0.96)
    assert (found.rows, found.right) == (8, 0.625)
    assert found.error == pytest.approx((1 * 0 + 2 * 0.25 + 5 * 0.16) / 8)


def test_what_is_always_right_has_no_error_and_nothing_has_none() -> None:
    found = calibration([1.0, 1.0], [True, True])
    assert found is not None
    assert (found.bins, found.error) == ((Bin(2, 1.0, 1.0),), 0.0)
    assert calibration([], []) is None
