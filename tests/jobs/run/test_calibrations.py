"""A run takes the calibration that it is given or that lies beside its model, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.model_choice import ModelChoice
from jobs.run import job as run_module
from jobs.run.calibrations import check_review, find_calibration
from jobs.run.job import run_job
from jobs.run.loop_engine import LoopEngine
from jobs.run.prepare import answer_settings
from jobs.run.ray_workers import ActorConfig
from jobs.run.resources import Resources
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.checkpoints import fingerprint
from pipeline.errors import UsageError
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import parse_questions
from pipeline.questions.values import Reading
from pipeline.records import Bundle, Receipt
from tests.support.calibrations import believing
from tests.support.colours import WHITE, make_pdf
from tests.support.helpers import FakePageAnswerer
from tests.support.loop import run_loop
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

QUESTIONS = parse_questions('version: 1\nquestions: [{id: a, text: "A?"}, {id: b, text: "B?"}]', "q.yaml")
DOUBTING = "version: 1\nquestions: [{id: a, text: 'A?', review_below: 0.6}, {id: b, text: 'B?', review_below: 0.0}]"


@pytest.fixture
def model(tmp_path: Path) -> ModelChoice:
    """A model and an add-on in folders of their own, for files beside them."""
    base, addon = make_tiny_checkpoint(tmp_path / "base"), make_tiny_addon(tmp_path / "addon")
    return ModelChoice(model=str(base), glimpse=str(addon), device="cpu", dpi=72, max_visual_tokens=16)


def write(file: Path, choice: ModelChoice, **changes: Any) -> Path:
    found = {
        "model_fingerprint": fingerprint(Path(choice.model)),
        "glimpse_fingerprint": None if choice.glimpse is None else fingerprint(Path(choice.glimpse)),
    }
    file.write_text(believing(**{**found, **changes}).to_json())
    return file


def test_beside_the_add_on_or_the_model_and_both_keep_their_fingerprint(model: ModelChoice) -> None:
    settings = answer_settings(model, 0)
    assert find_calibration(model, None, settings).calibration is None
    beside_model = write(Path(model.model, "calibration.json"), model)
    assert find_calibration(model, None, settings).file == str(beside_model)
    assert model.glimpse is not None
    beside_addon = write(Path(model.glimpse, "calibration.json"), model)
    found = find_calibration(model, None, answer_settings(model, 0))
    assert (found.file, found.notes) == (str(beside_addon), ())
    assert answer_settings(model, 0) == settings


def test_without_pruning_the_one_beside_the_add_on_counts_if_it_was_fitted_on_that(model: ModelChoice) -> None:
    assert model.glimpse is not None
    file = write(Path(model.glimpse, "calibration.json"), model)
    off = model.model_copy(update={"prune": "off"})
    assert find_calibration(off, None, answer_settings(off, 0)).file == str(file)
    write(file, model, modes=("glimpse",))
    found = find_calibration(off, None, answer_settings(off, 0))
    assert found.calibration is None
    (note,) = found.notes
    assert note.startswith(f"{file} is not used, so answers have no confidence: it was not fitted on --prune off; make")


def test_one_of_another_model_is_refused_where_it_was_named_and_told_where_it_was_found(
    model: ModelChoice, tmp_path: Path
) -> None:
    settings = answer_settings(model, 0)
    other = write(tmp_path / "other.json", model, model_fingerprint="f")
    with pytest.raises(UsageError, match=r"--calibration .*other\.json does not fit: it was fitted on another model"):
        find_calibration(model, str(other), settings)
    beside = write(Path(model.model, "calibration.json"), model, glimpse_fingerprint="f")
    found = find_calibration(model, None, settings)
    assert found.calibration is None
    assert str(beside) in found.notes[0]
    assert (
        "another add-on (g, f); make one with `docpipe calibrate --data LABELLED --out calibration.json --model"
        in found.notes[0]
    )


def test_a_calibration_that_was_fitted_otherwise_is_used_and_told(model: ModelChoice, tmp_path: Path) -> None:
    file = write(tmp_path / "c.json", model, dpi=200)
    found = find_calibration(model, str(file), answer_settings(model, 0))
    assert found.calibration is not None
    assert found.notes == (f"the confidence may be off, since {file} was fitted otherwise: --dpi was 200, is 72",)


@pytest.mark.parametrize("name", ["gone.json", ".", "s3x://bucket/c.json"])
def test_a_file_that_cannot_be_read_is_named(
    model: ModelChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"the calibration .* cannot be read: .*; name a file of `docpipe calibrate`"):
        find_calibration(model, name, answer_settings(model, 0))


def test_nothing_can_be_reviewed_for_a_confidence_that_there_is_not(model: ModelChoice) -> None:
    found = find_calibration(model, None, answer_settings(model, 0))
    check_review(found, model, [Reading()])
    with pytest.raises(UsageError, match=r"--review-below needs a calibration of model .*, found none; make one with"):
        check_review(found, model, [Reading(), Reading(review_below=0.0)])


class _Fake(LoopEngine):
    """Answers without a model."""

    def receipts(
        self, bundles: Sequence[Bundle], config: ActorConfig, resources: Resources, load: Any
    ) -> Iterator[Receipt]:
        folder = Folder(config.output)
        store = OutputStore(folder, config.command, config.run_id)
        with RenderChild() as child:
            answerer = BundleAnswerer(FakePageAnswerer(), store, Markers(folder))  # type: ignore[arg-type]
            yield from run_loop(bundles, child, answerer, config.settings)


def test_a_run_reviews_by_its_calibration_and_asks_nothing_again(
    model: ModelChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "choose_engine", lambda *_: (_Fake(), "a test"))
    pdf, out = make_pdf(tmp_path / "a.pdf", [WHITE]), tmp_path / "out"
    run = RunSettings(input=(str(pdf),), questions="q.yaml", output=str(out), choice=model)

    def rows(**changes: Any) -> list[tuple[Any, ...]]:
        asked = changes.pop("questions", QUESTIONS)
        report = run_job(run.model_copy(update=changes), asked)
        assert report["calibration"] == json.loads((out / "run.json").read_text())["calibration"]
        table = sorted(pq.read_table(out / "answers").to_pylist(), key=lambda row: str(row["question_id"]))
        return [(row["status"], row["confidence"], row["review_reasons"]) for row in table]

    assert rows() == [("answered", None, [])] * 2
    with pytest.raises(UsageError, match="--review-below needs a calibration"):
        rows(review_below=0.6)
    with pytest.raises(UsageError, match="--review-below needs a calibration"):
        rows(questions=parse_questions(DOUBTING, "q.yaml"))
    assert model.glimpse is not None
    file = write(Path(model.glimpse, "calibration.json"), model)
    half = pytest.approx(0.5)
    assert rows() == [("answered", half, [])] * 2
    assert rows(review_below=0.6) == [("needs_review", half, ["confidence"])] * 2
    assert rows(review_below=0.4) == [("answered", half, [])] * 2
    doubting = parse_questions(DOUBTING, "q.yaml")
    assert rows(questions=doubting, review_below=0.9)[1] == ("answered", half, [])
    assert rows(questions=doubting)[0] == ("needs_review", half, ["confidence"])
    assert len(list((out / "parts").iterdir())) == 1
    report = run_job(run, QUESTIONS)
    assert report["calibration"]["file"] == str(file)
    assert report["calibration"]["fitted_on"]["glimpse"] == "g"
    capsys.readouterr()
    file.write_text(file.read_text().replace(fingerprint(Path(model.model)), "f" * 16))
    assert rows() == [("answered", None, [])] * 2
    assert f"warning: {file} is not used, so answers have no confidence" in capsys.readouterr().err
