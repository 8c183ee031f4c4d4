"""``docpipe doctor --tune`` measures, and what runs with that model uses what it found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from typer.testing import CliRunner

from glimpseprune.cost.rates import EQUAL
from jobs.cli.main import app
from jobs.commands import tune as module
from jobs.model_choice import ModelChoice
from jobs.run.prepare import answer_settings
from jobs.run.ray_workers import ActorConfig, load_answerer
from pipeline.answering.tuning import StoredRates, Tuning, tuning_file, write_tuning


def config(out: Path, choice: ModelChoice, threads: int = 4) -> ActorConfig:
    return ActorConfig(answer_settings(choice, 0), str(out), "docpipe run", "test-run", "cpu", "auto", threads, None)


@pytest.fixture
def choice(tiny_base: Path, tiny_addon: Path) -> ModelChoice:
    return ModelChoice(model=str(tiny_base), glimpse=str(tiny_addon), prune="auto", device="cpu")


def test_it_writes_what_a_run_reads(choice: ModelChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_threads", lambda: 2)
    outcome = CliRunner().invoke(app, ["doctor", "--tune", "--model", choice.model, "--glimpse", str(choice.glimpse)])
    assert outcome.exit_code == 0, outcome.output
    assert "lanes            2 of 1 thread:" in outcome.output
    assert "lanes            1 of 2 threads:" in outcome.output
    settings = answer_settings(choice, 0)
    file = tuning_file(settings, "cpu", settings.glimpse_fingerprint)
    assert outcome.output.splitlines()[-1] == f"written to       {file}"
    assert file.is_relative_to(platformdirs.user_cache_path("docpipe"))
    found = Tuning.model_validate_json(file.read_bytes())
    assert found.lane_threads in (1, 2)
    assert found.dtype is not None
    assert found.dtype.dtype == "float32"
    assert found.rates is not None
    unpruned = Tuning.model_validate_json(tuning_file(settings, "cpu", None).read_bytes())
    assert unpruned == Tuning(lane_threads=found.lane_threads, dtype=found.dtype)


def test_a_run_takes_lanes_and_rates_from_there(
    choice: ModelChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rates = StoredRates(linear=1e-11, attention=2e-11, predictor=3e-11, layer_run=1e-3)
    settings = answer_settings(choice, 0)
    write_tuning(tuning_file(settings, "cpu", settings.glimpse_fingerprint), Tuning(lane_threads=2, rates=rates))
    answerer = load_answerer(config(tmp_path / "out", choice)).page_answerer
    assert answerer.lanes == 2
    assert answerer.rates.layer_run == 1e-3
    assert json.loads((tmp_path / "out/tuning/rates.json").read_text()) == rates.model_dump()


@pytest.mark.parametrize("prune", ["glimpse", "off"])
def test_nothing_is_measured_that_nothing_asks_for(
    choice: ModelChoice, prune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.answering.tuning.measure_rates", lambda model: pytest.fail("measured"))
    answerer = load_answerer(config(tmp_path, choice.model_copy(update={"prune": prune}), 3)).page_answerer
    assert answerer.rates == EQUAL
    assert answerer.lanes == 3
    assert [path.name for path in (tmp_path / "tuning").iterdir()] == ["dtype.json"]


def test_flags_of_a_model_without_tune_are_refused() -> None:
    outcome = CliRunner().invoke(app, ["doctor", "--model", "nano"])
    assert outcome.exit_code == 0  # the default says nothing
    outcome = CliRunner().invoke(app, ["doctor", "--dtype", "float32"])
    assert outcome.exit_code == 2
    assert "only --tune loads a model" in outcome.stderr
