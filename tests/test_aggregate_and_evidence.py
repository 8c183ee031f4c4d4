from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.aggregate import aggregate
from pipeline.evidence import evidence_boxes
from pipeline.records import Evidence


def row(
    page: int, answer: str | None, confidence: float | None, status: str = "answered", value: object = None
) -> dict:
    typed = None if value is None else json.dumps(value)
    return {"page": page, "answer": answer, "confidence": confidence, "status": status, "value": typed}


ROWS = [
    row(1, "n/a", 0.99, "not_answerable"),
    row(2, "blue", 0.5),
    row(3, "red", 0.8),
    row(4, "Blue ", 0.6),
    row(5, "green", 0.95, "needs_review"),
    row(6, None, None, "failed"),
]


@pytest.mark.parametrize(
    ("rule", "answer", "page", "chosen_by"),
    [
        ("best", "red", 3, "most confident of 4 answers"),
        ("first", "blue", 2, "first of 4 answers"),
        ("vote", "Blue ", 4, "2 of 4 votes"),
        ("all", '["blue", "red", "Blue ", "green"]', None, "all 4 different answers"),
    ],
)
def test_aggregation(rule: str, answer: str, page: int | None, chosen_by: str) -> None:
    out = aggregate(rule, ROWS)
    assert (out["answer"], out["page"], out["chosen_by"], out["pages_asked"]) == (answer, page, chosen_by, 6)
    assert out["status"] == "answered"


def test_sums_need_a_number_on_every_page_that_answered() -> None:
    typed = [row(1, "3", 0.5, value=3), row(2, "n/a", 0.9, "not_answerable"), row(3, "4.5", 0.5, value=4.5)]
    out = aggregate("sum", typed)
    assert (out["answer"], out["value"], out["status"], out["chosen_by"]) == (
        "7.5",
        "7.5",
        "answered",
        "sum of 2 answers",
    )
    out = aggregate("sum", [*typed, row(4, "many", 0.5)])
    assert (out["answer"], out["status"], out["chosen_by"]) == (
        None,
        "needs_review",
        "sum: 1 of 3 answers have no number",
    )


def test_without_an_answer() -> None:
    assert aggregate("best", [ROWS[0], ROWS[5]])["status"] == "not_answerable"
    out = aggregate("vote", [ROWS[5]])
    assert (out["status"], out["answer"], out["page"], out["pages_asked"]) == ("failed", None, None, 1)
    assert aggregate("best", [ROWS[4]])["status"] == "needs_review"


def test_boxes_around_regions_in_points() -> None:
    keep = np.array(
        [
            [1, 1, 0, 0],
            [0, 0, 1, 0],  # touches the first region at a corner
            [0, 0, 0, 0],
            [1, 0, 0, 1],
        ],
        dtype=bool,
    )
    scores = np.arange(16, dtype=np.float32).reshape(4, 4) * keep
    boxes = evidence_boxes(keep.ravel(), scores.ravel(), 4, 4, 200, 400)
    assert boxes == (
        Evidence(150, 300, 200, 400, 15),
        Evidence(0, 300, 50, 400, 12),
        Evidence(0, 0, 150, 200, 6),
    )
    assert evidence_boxes(keep.ravel(), scores.ravel(), 4, 4, 200, 400, limit=1) == boxes[:1]
    assert evidence_boxes(np.zeros(16, dtype=bool), scores.ravel(), 4, 4, 200, 400) == ()


def test_a_box_is_scored_by_its_own_tokens_only() -> None:
    keep = np.array([[1, 1, 1], [1, 0, 0], [1, 0, 1]], dtype=bool)
    scores = np.array([[1, 1, 1], [1, 9, 9], [1, 9, 5]], dtype=np.float32)
    first, second = evidence_boxes(keep.ravel(), scores.ravel(), 3, 3, 3, 3)
    assert (first.score, second.score) == (5, 1)
    assert (second.x1, second.y1) == (3, 3)
