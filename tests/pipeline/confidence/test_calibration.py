"""A calibration is plain JSON: applied with numpy, checked when it is read, and bound to its model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.confidence.calibration import Calibration, parse_calibration
from pipeline.confidence.features import FEATURE_COLUMNS, FEATURES, features, sureness_of_others
from pipeline.errors import UsageError
from pipeline.output.schema import ANSWERS
from pipeline.questions.values import Reading
from tests.support.calibrations import believing
from tests.support.helpers import SETTINGS

ALONE = np.array([np.nan])
ROW: dict[str, Any] = {
    "answer": "x",
    "value_error": None,
    "logprob_mean": -0.5,
    "logprob_min": -1.0,
    "logprob_first": 0.0,
    "margin_min": 2.0,
    "glimpse_mass": 0.75,
    "glimpse_spread": 0.5,
    "floor_hit": False,
    "retention": 0.1,
    "new_tokens": 4,
    "on_page": None,
    "other_answers": None,
}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([ROW | row for row in rows], pa.schema([ANSWERS.field(n) for n in FEATURE_COLUMNS]))


def named(row: pa.Table, reading: Reading | None = None) -> dict[str, float]:
    (found,) = features(row, [reading or Reading()], ALONE)
    return dict(zip(FEATURES, found.tolist(), strict=True))


class TestFeatures:
    def test_of_an_answer(self) -> None:
        found = named(table({}), Reading("date"))
        assert found["sure_mean"] == pytest.approx(-math.log(0.5), abs=1e-5)
        assert found["sure_all"] == pytest.approx(-math.log(2.0), abs=1e-5)
        assert found["sure_first"] == pytest.approx(-math.log(1e-6))
        assert (found["pruned"], found["glimpse_mass"], found["no_answer"], found["no_answer_mass"]) == (1, 0.75, 0, 0)
        assert {name for name in FEATURES if name.startswith("type_") and found[name]} == {"type_date"}

    def test_of_several_looks(self) -> None:
        once = named(table({"answer": "4"}))
        for said, agree, differ in (("4", 1, 0), ("5", 0, 1), ("54", 1, 1), ("56", 0, 1)):
            others = [{"answer": other, "confidence_raw": 0.5, "look": look} for look, other in enumerate(said, 2)]
            found = named(table({"answer": "4", "other_answers": others, "new_tokens": 4 * (1 + len(said))}))
            assert (found.pop("looks_agree"), found.pop("looks_differ")) == (agree, differ)
            assert found == {name: value for name, value in once.items() if name in found}  # its share of the tokens
        assert (once["looks_agree"], once["looks_differ"]) == (0, 0)

    def test_of_no_answer_and_of_what_is_not_known(self) -> None:
        found = named(table({"answer": "N/A.", "glimpse_mass": None, "glimpse_spread": None, "retention": 1.0}))
        assert (found["no_answer"], found["pruned"], found["glimpse_mass"], found["retention"]) == (1, 0, 0, 0)
        assert found["no_answer_sure"] == found["sure_all"]
        assert (found["on_page"], found["not_on_page"]) == (0, 0)
        assert named(table({"answer": "NA"}), Reading("choice", choices=("EU", "NA")))["no_answer"] == 0

    def test_on_page_counts_where_it_is_known(self) -> None:
        rows = table(*({"on_page": on_page} for on_page in (True, False, None)))
        found = features(rows, [Reading()] * 3, np.full(3, np.nan))
        places = [FEATURES.index("on_page"), FEATURES.index("not_on_page")]
        assert found[:, places].tolist() == [[1, 0], [0, 1], [0, 0]]

    def test_how_sure_the_others_on_the_page_are_counts_more_the_more_there_are(self) -> None:
        logprobs = [-0.5, -2.0, None, -0.5, -1.0, -1.0, -1.0, -1.0]
        rows = table(*({"logprob_mean": one} for one in logprobs))
        found = sureness_of_others(rows, [("a", 1), ("a", 1), ("a", 1), ("a", 2), *[("b", 1)] * 4])
        sure = [-math.log(-one) - 4 for one in (-0.5, -2.0, -1.0)]
        assert found[:3].tolist() == pytest.approx([sure[1] / 3, sure[0] / 3, (sure[0] + sure[1]) / 4], abs=1e-5)
        assert np.isnan(found[3])
        assert found[4:].tolist() == pytest.approx([3 * sure[2] / 5] * 4, abs=1e-5)
        names = [FEATURES.index(name) for name in ("others", "alone", "alone_sure", "sure_all")]
        first, last = features(rows, [Reading()] * 8, found)[[0, 3]][:, names].tolist()
        assert first[:3] == [found[0], 0, 0]
        assert last == [0, 1, last[3], last[3]]


class TestCalibration:
    def test_it_comes_back_from_its_json(self) -> None:
        made = believing()
        again = parse_calibration(made.to_json().encode(), "c.json")
        assert (again, again.fingerprint) == (made, made.fingerprint)

    @pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
    def test_a_score_becomes_a_share_on_the_curve(self, share: float) -> None:
        row = table({"logprob_mean": math.log(share)})
        assert believing().confidence(features(row, [Reading()], ALONE))[0] == pytest.approx(share)

    def test_beyond_the_curve_its_ends_hold_and_unanswered_rows_have_no_confidence(self) -> None:
        rows = table({"logprob_mean": 0.0}, {"logprob_mean": -50.0}, {"logprob_mean": None, "new_tokens": None})
        found = believing().confidence(features(rows, [Reading()] * 3, np.full(3, np.nan)))
        assert found[:2].tolist() == [0.99, 0.01]
        assert np.isnan(found[2])

    def test_the_fingerprint_tells_other_numbers_and_other_models_but_not_other_days(self) -> None:
        made = believing()
        assert believing(fitted_at="2027-01-01T00:00:00+00:00").fingerprint == made.fingerprint
        assert believing(model_fingerprint="f").fingerprint != made.fingerprint
        assert made.model_copy(update={"bias": 0.5}).fingerprint != made.fingerprint

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"bias": float("nan")}, "bias: "),
            ({"knots": []}, "knots: "),
            ({"knots": [[0, 0.5], [0, 0.6]]}, "rising scores"),
            ({"knots": [[0, 0.5], [1, 0.4]]}, "rising scores"),
            ({"knots": [[0, 0.5], [1, 1.5]]}, "in 0..1"),
            ({"terms": {}}, "in this order"),
            ({"version": 1}, "version: "),
            ({"more": 1}, "more: "),
        ],
    )
    def test_what_is_wrong_is_said(self, change: dict[str, Any], said: str) -> None:
        raw = json.loads(believing().to_json()) | change
        with pytest.raises(UsageError, match=rf"(?s)^c\.json is no calibration.*{said}.*docpipe calibrate"):
            parse_calibration(json.dumps(raw).encode(), "c.json")

    @pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"format": "x"}'])
    def test_what_is_no_calibration_is_refused(self, data: bytes) -> None:
        with pytest.raises(UsageError, match=r"c\.json is no calibration of this version"):
            parse_calibration(data, "c.json")


class TestFit:
    @pytest.mark.parametrize(
        ("settings", "change", "reasons"),
        [
            (SETTINGS, {}, []),
            (SETTINGS, {"model_fingerprint": "f"}, ["it was fitted on another model (m, f)"]),
            (SETTINGS, {"glimpse_fingerprint": "f"}, ["it was fitted on another add-on (g, f)"]),
            (SETTINGS, {"modes": ("off",)}, ["it was not fitted on --prune glimpse"]),
            (SETTINGS, {"modes": ("glimpse",)}, []),
            (replace(SETTINGS, prune_auto=True), {"modes": ("glimpse",)}, ["it was not fitted on --prune off"]),
            (replace(SETTINGS, rule=None, glimpse_fingerprint=None), {}, []),
        ],
    )
    def test_it_is_for_one_model_and_its_modes(self, settings: Any, change: dict[str, Any], reasons: list[str]) -> None:
        made: Calibration = believing(**change)
        assert made.misfits(settings) == reasons

    def test_what_was_otherwise_is_told(self) -> None:
        assert believing().differences(SETTINGS) == []
        other = replace(SETTINGS, dpi=200, drop_blank=True, look_again=0.9)
        told = ["--dpi was 72, is 200", "--drop-blank was off, is on", "--look-again was 0, is 0.9"]
        assert believing().differences(other) == told
