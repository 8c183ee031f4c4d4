"""Training under Ray Train and without it: the loop, its checkpoints, and an add-on that ``docpipe run`` takes."""

from __future__ import annotations

import csv
import math
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from glimpseprune.errors import DivergedError
from glimpseprune.methods.glimpse.addon import load_addon
from glimpseprune.training.trainer import Figures, cosine, load_checkpoint, save_checkpoint, train
from jobs.cli.main import app
from jobs.training.fit import CHECKPOINT, CURVE, Curve
from jobs.training.glimpse import GlimpseSettings, make_task
from pipeline.samples import Family
from pipeline.samples.write import write_samples
from tests.support.tiny_model import make_tiny_checkpoint

SMALL = Family(min_fields=3, max_fields=4, two_columns=0, table=0, free_text=0, size_pt=(168, 168))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("training") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder, range(4), SMALL)
    return folder


def _settings(base: Path, data: Path, **changes: Any) -> dict[str, Any]:
    fields = {"data": str(data), "model": str(base), "questions": 24, "batch": 3, "kl": 1.0, "dpi": 72, "rate": 1e-3}
    return GlimpseSettings.model_validate({**fields, **changes}).model_dump()


class _Line:
    """Fits y = 2x; each part of a step sees a number of its own."""

    steps, accumulation_steps, max_grad_norm = 12, 2, 1.0

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.optimizers = [torch.optim.AdamW(self.module.parameters(), lr=0.1)]
        self.seen: list[tuple[int, int]] = []

    def rate(self, step: int) -> float:
        return cosine(step, self.steps, 0.25)

    def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
        self.seen.append((step, part))
        x = torch.tensor([[random.Random(f"{step} {part}").random()]])
        loss = (self.module(x) - 2 * x).square().mean()
        return loss, {"error": float(loss.detach())}


class TestLoop:
    def test_resumed_is_uninterrupted(self, tmp_path: Path) -> None:
        def run(task: _Line, first: int, stop: int) -> list[tuple[int, Figures]]:
            curve: list[tuple[int, Figures]] = []

            def after(step: int, figures: Figures) -> bool:
                curve.append((step, figures))
                return step == stop

            train(task, first, after)
            return curve

        whole = _Line()
        expected = run(whole, 0, 12)
        first = _Line()
        half = run(first, 0, 5)
        save_checkpoint(tmp_path / "c.pt", first, 5)
        second = _Line()
        assert load_checkpoint(tmp_path / "c.pt", second) == 5
        assert half + run(second, 5, 12) == expected
        for a, b in zip(second.module.parameters(), whole.module.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_workers_share_the_parts_of_a_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("glimpseprune.training.trainer._average", lambda parameters, workers: None)
        seen: list[tuple[int, int]] = []
        for worker in range(3):
            task = _Line()
            train(task, 10, lambda step, figures: False, worker, 3)
            seen += task.seen
        assert sorted(seen) == [(step, part) for step in (10, 11) for part in range(6)]

    def test_a_step_that_is_not_finite_is_not_taken(self) -> None:
        class Overflowing(_Line):
            def loss(self, step: int, part: int) -> tuple[Tensor, Figures]:
                loss, figures = super().loss(step, part)
                return loss * (math.inf if step == 3 else 1.0), figures

        whole, task = _Line(), Overflowing()
        train(whole, 0, lambda step, figures: step == 3)
        with pytest.raises(DivergedError, match="finite gradient at step 4, found (nan|inf).*lower learning rate"):
            train(task, 0, lambda step, figures: False)
        for a, b in zip(task.module.parameters(), whole.module.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_no_checkpoint_is_step_zero(self, tmp_path: Path) -> None:
        assert load_checkpoint(tmp_path / "none.pt", _Line()) == 0

    def test_a_schedule(self) -> None:
        assert [round(cosine(step, 10, 0.2), 3) for step in (0, 1, 2, 6, 10)] == [0.5, 1.0, 1.0, 0.5, 0.0]


class TestCurve:
    def test_rows_after_the_checkpoint_are_dropped(self, tmp_path: Path) -> None:
        curve = Curve(tmp_path, 0)
        for step in range(1, 6):
            curve.add(step, {"loss": float(step)} if step < 4 else {"loss": float(step), "kl": 0.5})
        curve.close()
        again = Curve(tmp_path, 3)
        again.add(4, {"loss": 40.0})
        again.close()
        with (tmp_path / CURVE).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["step"], row["loss"]) for row in rows] == [("1", "1.0"), ("2", "2.0"), ("3", "3.0"), ("4", "40.0")]
        assert len(list((tmp_path / "tensorboard").iterdir())) == 2


class TestGlimpseTask:
    def test_an_interrupted_run_gives_the_curve_of_an_uninterrupted_one(
        self, base: Path, data: Path, tmp_path: Path
    ) -> None:
        def run(first: int, stop: int, restore: bool) -> list[Figures]:
            task = make_task(_settings(base, data), 1, "cpu")
            if restore:
                assert load_checkpoint(tmp_path / "c.pt", task) == first
            curve: list[Figures] = []

            def after(step: int, figures: Figures) -> bool:
                curve.append(figures)
                if step == stop:
                    save_checkpoint(tmp_path / "c.pt", task, step)
                return step == stop

            train(task, first, after)
            task.images.child.close()
            return curve

        expected = run(0, 8, False)
        assert run(0, 3, False) + run(3, 8, True) == expected

    def test_an_epoch_has_every_question_once_and_pages_stay_together(self, base: Path, data: Path) -> None:
        task = make_task(_settings(base, data), 1, "cpu")
        total = sum(len(page) for page in task.examples.pages)
        epoch = [task.examples.at(i) for i in range(total)]
        assert {(e.document, e.question_id) for e in epoch} == {
            (e.document, e.question_id) for p in task.examples.pages for e in p
        }
        changes = sum(a.document != b.document for a, b in zip(epoch, epoch[1:], strict=False))
        assert changes == len(task.examples.pages) - 1
        assert [task.examples.at(total + i) for i in range(total)] != epoch

    @pytest.mark.parametrize("margin", [0, 1])
    def test_evidence_lies_under_the_boxes(self, base: Path, data: Path, margin: int) -> None:
        task = make_task({**_settings(base, data), "margin": margin}, 1, "cpu")
        with_box = next(e for page in task.examples.pages for e in page if e.regions)
        example = task.training_example(with_box)
        region = with_box.regions[0]
        rows, columns = 6, 6  # 168 pt at 72 dpi, 28 px a token
        assert example.evidence is not None
        places = example.evidence.reshape(rows, columns).nonzero()
        assert places[:, 0].min() == max(0, int(region.y0 * rows) - margin)
        assert places[:, 1].min() == max(0, int(region.x0 * columns) - margin)
        assert task.processor.text(example.answer) == with_box.answers[0]
        task.images.child.close()


def test_train_glimpse_writes_an_addon_that_run_takes(
    ray_session: None, base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "addon"
    monkeypatch.chdir(base.parent)  # workers run in another folder than their user
    command = ["train", "glimpse", "--data", os.path.relpath(data), "--out", str(out), "--model", base.name]
    command += ["--dpi", "72"]
    result = CliRunner().invoke(app, [*command, "--questions", "12", "--batch", "3", "--cpu"])
    assert result.exit_code == 0, result.output
    assert "retention=" in result.output
    assert load_addon(out).config.reduce_layer == 2
    with (out / "training" / CURVE).open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]
    assert (out / "training" / CHECKPOINT).is_file()

    evaluated = tmp_path / "eval.parquet"
    command = ["eval", "--data", str(data), "--out", str(evaluated), "--model", str(base), "--glimpse", str(out)]
    command += ["--dpi", "72", "--pages", "2", "--max-ratio", "0.5", "--max-new-tokens", "4", "--quiet"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines() if line][-3:] == ["off", "glimpse", "random"]


def test_a_missing_data_set_is_told_before_anything_starts(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "glimpse", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "o")])
    assert result.exit_code == 2
    assert "docpipe samples" in result.output
    assert not (tmp_path / "o").exists()
