"""``docpipe train plus``: exact resume, and a model with an add-on that ``docpipe run`` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from glimpseprune.methods.glimpse.addon import load_addon
from glimpseprune.training.trainer import Figures, load_checkpoint, save_checkpoint, train
from jobs.cli.main import app
from jobs.training.fit import CHECKPOINT
from jobs.training.plus import PlusSettings, make_task
from pipeline.samples import Family
from pipeline.samples.write import write_samples

CLI = CliRunner()
SMALL = Family(min_fields=3, max_fields=4, two_columns=0, table=0, free_text=0, size_pt=(168, 168))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder, range(2), SMALL)
    return folder


def test_resumed_is_uninterrupted(tiny_base: Path, tiny_addon: Path, data: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"data": str(data), "model": str(tiny_base), "glimpse": str(tiny_addon), "dpi": 72}
    fields |= {"questions": 16, "batch": 2, "accumulate": 2, "samples": 3, "max_new_tokens": 5, "rate": 1e-2}
    settings = PlusSettings.model_validate({**fields, "reward": "anls", "drop_blank_share": 0.5}).model_dump()

    def run(first: int, stop: int) -> tuple[list[Figures], dict[str, Tensor]]:
        task = make_task(settings, 1, "cpu")
        assert load_checkpoint(tmp_path / "c.pt", task) == first
        curve: list[Figures] = []

        def after(step: int, figures: Figures) -> bool:
            curve.append(figures)
            if step == 2:
                save_checkpoint(tmp_path / "c.pt", task, step)
            return step == stop

        train(task, first, after)
        task.images.child.close()
        return curve, task.module.state_dict()

    begun, _ = run(0, 2)
    resumed, weights = run(2, 4)
    (tmp_path / "c.pt").unlink()
    whole, expected = run(0, 4)
    assert begun + resumed == whole
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert any(bool(weight.abs().sum()) for name, weight in weights.items() if "lora_B" in name)


def _fit_here(make: Any, told: Any, work: Path, gpu: bool, show: Callable[[str], Any]) -> None:
    """Train in this process: that a task trains under Ray Train has a test of its own."""
    task = make(told, 1, "cpu")
    train(task, load_checkpoint(work / CHECKPOINT, task), lambda step, figures: False)
    save_checkpoint(work / CHECKPOINT, task, task.steps)
    task.images.child.close()


def test_train_plus_writes_a_model_and_an_addon_that_run_takes(
    tiny_base: Path, tiny_addon: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("plus", "glimpse"):  # GRPO, and stage 1
        monkeypatch.setattr(f"jobs.training.{module}.fit", _fit_here)
    out = tmp_path / "plus"
    command = ["train", "plus", "--data", str(data), "--out", str(out), "--model", str(tiny_base), "--dpi", "72"]
    command += ["--glimpse", str(tiny_addon), "--questions", "8", "--batch", "2", "--accumulate", "2", "--samples", "2"]
    result = CLI.invoke(app, [*command, "--max-new-tokens", "4", "--rate", "0.1", "--addon-questions", "8", "--cpu"])
    assert result.exit_code == 0, result.output
    assert f"docpipe run --model {out}/model --glimpse {out}/glimpse" in result.output
    before, after = (load_addon(folder).state_dict() for folder in (tiny_addon, out / "glimpse"))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert json.loads((out / "model" / "config.json").read_text()) == json.loads(
        (tiny_base / "config.json").read_text()
    )

    run = ["run", "--input", str(data / "pdfs"), "--questions", str(data / "questions.yaml"), "--dpi", "72"]
    run += ["--output", str(tmp_path / "run"), "--model", str(out / "model"), "--glimpse", str(out / "glimpse")]
    result = CLI.invoke(app, [*run, "--engine", "local", "--max-new-tokens", "4", "--quiet"])
    assert result.exit_code == 0, result.output
    rows = pq.read_table(tmp_path / "run" / "answers").select(["status", "retention"]).to_pylist()
    assert rows
    assert all(row["retention"] < 1 for row in rows)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--judge", "http://judge/v1"], "expected an address together with --judge-model"),
        (["--samples", "1"], "--samples"),
        (["--reward", "beauty"], "--reward"),
    ],
)
def test_settings_that_do_not_fit_are_told(given: list[str], told: str, data: Path, tmp_path: Path) -> None:
    result = CLI.invoke(app, ["train", "plus", "--data", str(data), "--out", str(tmp_path / "o"), *given])
    assert result.exit_code == 2
    assert told in result.output


def test_a_model_without_an_addon_is_refused(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    command = ["train", "plus", "--data", str(data), "--out", str(tmp_path / "o"), "--model", str(tiny_base)]
    result = CLI.invoke(app, command)
    assert result.exit_code == 2
    assert "expected the add-on that prunes" in result.output
    assert not (tmp_path / "o").exists()
