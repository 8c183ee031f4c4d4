"""``docpipe train glimpse`` on a base of any family: the loss falls, and the add-on is taken by that base."""

from __future__ import annotations

from pathlib import Path

import pytest

import glimpseprune as gp
from glimpseprune.training.trainer import Figures, train
from jobs.training.glimpse import GlimpseSettings, make_task
from pipeline.samples import Family
from pipeline.samples.write import write_samples
from tests.support.families import FAMILIES

SMALL = Family(min_fields=3, max_fields=4, two_columns=0, table=0, free_text=0, size_pt=(168, 168))


@pytest.mark.parametrize("name", FAMILIES)
def test_an_addon_learns_where_the_evidence_is(name: str, tmp_path: Path) -> None:
    base = FAMILIES[name].make_checkpoint(tmp_path / "base")
    write_samples(tmp_path / "data", range(2), SMALL)
    fields = {"data": str(tmp_path / "data"), "model": str(base), "questions": 90, "batch": 3, "dpi": 72, "rate": 3e-3}
    task = make_task(GlimpseSettings.model_validate({**fields, "language": 0.0}).model_dump(), 1, "cpu")
    curve: list[Figures] = []

    def after(step: int, figures: Figures) -> bool:
        curve.append(figures)
        return False

    before = {key: value.clone() for key, value in task.module.state_dict().items()}
    train(task, 0, after)
    first, last = (sum(figures["loss"] for figures in part) / 6 for part in (curve[:6], curve[-6:]))
    assert last < 0.9 * first
    assert all(not value.equal(before[key]) for key, value in task.module.state_dict().items() if "le_proj" in key)

    gp.save_addon(task.module, tmp_path / "addon")
    trained = gp.load(base, glimpse=tmp_path / "addon", device="cpu")
    example = task.training_example(task.examples.at(0))
    page = gp.encode_page(trained, example.prompt.input_ids, example.prompt.pixels[0], example.prompt.grids[0])
    (answer,) = page.ask([example.answer[:1]], trained.rule, 2)
    assert answer.scores is not None
    assert answer.scores.shape == example.prompt.image_slots[0].shape
    task.images.child.close()
