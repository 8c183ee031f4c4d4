"""The embedded model reads: a floor under its accuracy on pages it has never seen, pruned and not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

import glimpseprune as gp
from jobs.commands.evaluate import EvalSettings, evaluate
from pipeline.answering.checkpoints import resolve_addon, resolve_model
from pipeline.evaluation.score_table import Score, scores
from pipeline.samples.write import pick_seeds, write_samples

PAGES = 10
SHIPPED_BYTES = 25_000_000


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Score]:
    folder = tmp_path_factory.mktemp("held-out")
    write_samples(folder, pick_seeds(20261121, PAGES))
    settings = EvalSettings(data=str(folder), out=folder / "eval.parquet", quiet=True, device="cpu")
    return {score.mode: score for score in scores(evaluate(settings))}


def test_unpruned(found: dict[str, Score]) -> None:
    assert found["off"].questions > 100
    assert found["off"].exact is not None
    assert found["off"].exact >= 0.85
    assert found["off"].anls is not None
    assert found["off"].anls >= 0.93


def test_pruned_is_as_good_with_a_tenth_of_the_tokens(found: dict[str, Score]) -> None:
    off, glimpse, random = (found[mode] for mode in ("off", "glimpse", "random"))
    assert glimpse.exact is not None
    assert off.exact is not None
    assert random.exact is not None
    assert glimpse.exact >= 0.96 * off.exact
    assert glimpse.retention_mean is not None
    assert glimpse.retention_mean <= 0.12
    assert glimpse.boxes_covered is not None
    assert glimpse.boxes_covered >= 0.9
    assert random.exact < 0.5 * off.exact
    assert random.retention_mean == pytest.approx(glimpse.retention_mean, rel=0.01)  # of the tokens that are seen


def test_it_is_small_and_opens_without_our_code() -> None:
    base, addon = resolve_model("nano"), resolve_addon("nano")
    shipped = sum(path.stat().st_size for folder in (base, addon) for path in Path(folder).iterdir())
    assert shipped <= SHIPPED_BYTES
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(base)
    assert model.dtype == torch.bfloat16
    assert gp.load(base, glimpse=addon, device="cpu").method is not None
