"""Clues are figures of the glimpse and the words; a presence model is plain JSON that turns them into probabilities."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from pipeline.confidence.calibration import parse_calibration
from pipeline.confidence.presence import CLUES, clues_of
from pipeline.errors import UsageError
from tests.support.calibrations import believing, word_reader


def named(scores: list[float], words_found: float | None) -> dict[str, float]:
    return dict(zip(CLUES, clues_of(np.array(scores, np.float32), words_found), strict=True))


def test_clues_of_a_page_by_hand() -> None:
    found = named([0.0, 0.0, -40.0, -math.inf], 0.5)
    assert found["peak"] == 0.0
    assert found["best"] == pytest.approx(-40 / 3)
    assert found["mass"] == pytest.approx(math.log(1.0), abs=1e-6)  # twice sigmoid(0)
    assert found["spread"] == pytest.approx(math.log(2) / math.log(3), abs=1e-6)
    assert (found["text_layer"], found["words_found"]) == (1.0, 0.5)


def test_without_a_text_layer_and_without_any_importance_all_is_a_number() -> None:
    found = named([-1e4], None)
    assert (found["text_layer"], found["words_found"]) == (0.0, 0.0)
    assert all(math.isfinite(value) for value in found.values())


def test_a_probability_follows_the_words() -> None:
    clues = np.array([clues_of(np.zeros(9, np.float32), share) for share in (0.0, 0.5, 1.0)])
    assert word_reader().probabilities(clues).tolist() == pytest.approx(
        [1 / (1 + math.exp(4)), 0.5, 1 / (1 + math.exp(-4))]
    )


def test_it_comes_back_with_its_calibration_and_changes_no_confidence() -> None:
    plain = believing()
    made = plain.model_copy(update={"presence": word_reader()})
    again = parse_calibration(made.to_json().encode(), "c.json")
    assert again.presence == made.presence
    assert again.presence is not None
    assert again.presence.fingerprint == word_reader().fingerprint != word_reader(2.0).fingerprint
    assert again.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bias": float("inf")}, "presence.bias"),
        ({"terms": {}}, "expected the terms peak"),
        ({"held": 0}, "presence.held"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    raw = json.loads(believing().model_copy(update={"presence": word_reader()}).to_json())
    raw["presence"] |= change
    with pytest.raises(UsageError, match=rf"(?s)^c\.json is no calibration.*{said}"):
        parse_calibration(json.dumps(raw).encode(), "c.json")
