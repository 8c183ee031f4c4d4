"""``--skip-below`` in whole runs: what it needs, what it writes, and that an interruption changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pymupdf
import pytest

from jobs.commands.forecast import forecast
from jobs.model_choice import ModelChoice
from jobs.run.calibrations import find_calibration, with_skipping
from jobs.run.job import run_job
from jobs.run.prepare import answer_settings, reproduce_command
from jobs.run.ray_workers import ActorConfig, load_answerer
from jobs.run.report import closing_lines
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.checkpoints import fingerprint
from pipeline.confidence.presence import Presence
from pipeline.errors import SettingsChangedError, UsageError
from pipeline.questions.file import parse_questions
from tests.support.calibrations import believing, word_reader
from tests.support.helpers import assert_alike
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

QUESTIONS = parse_questions(
    "version: 1\ndefaults: {max_new_tokens: 4}\nquestions:\n"
    "- {id: total, text: 'Total?'}\n- {id: weight, text: 'Weight?'}\n- {id: first, text: 'Nothing?', pages: '1'}\n",
    "q.yaml",
)
TEXTS = ("Vendor Blue", "Total 17.50", "Customer Ann", "Total 18.00")
VOLATILE = ("run_id", "answered_at", "prefill_ms", "decode_ms", "bundle_id")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelChoice:
    folder = tmp_path_factory.mktemp("model")
    base, addon = make_tiny_checkpoint(folder / "base"), make_tiny_addon(folder / "addon")
    return ModelChoice(model=str(base), glimpse=str(addon), device="cpu", dtype="float32", dpi=72, max_visual_tokens=16)


def calibrate(file: Path, choice: ModelChoice, presence: Presence | None) -> str:
    found = {
        "model_fingerprint": fingerprint(Path(choice.model)),
        "glimpse_fingerprint": fingerprint(Path(choice.glimpse or "")),
    }
    file.write_text(believing(**found).model_copy(update={"presence": presence}).to_json())
    return str(file)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, model: ModelChoice) -> RunSettings:
    """What all runs have in common; each has an output folder of its own."""
    folder = tmp_path_factory.mktemp("given")
    with pymupdf.open() as document:
        for text in TEXTS:
            document.new_page(width=200, height=200).insert_text((20, 60), text)
        document.save(folder / "a.pdf")
    return RunSettings(
        input=(str(folder / "a.pdf"),),
        questions="q.yaml",
        output=str(folder / "out"),
        choice=model,
        engine="local",
        calibration=calibrate(folder / "c.json", model, word_reader()),
        skip_below=0.3,
        quiet=True,
    )


@pytest.fixture(scope="module")
def uninterrupted(given: RunSettings) -> list[dict[str, Any]]:
    run_job(given, QUESTIONS)
    return rows(given)


@pytest.fixture
def run(given: RunSettings, tmp_path: Path) -> RunSettings:
    return given.model_copy(update={"output": str(tmp_path / "out")})


def rows(settings: RunSettings) -> list[dict[str, Any]]:
    found = pq.read_table(Path(settings.output, "answers")).to_pylist()
    found = [{name: value for name, value in row.items() if name not in VOLATILE} for row in found]
    return sorted(found, key=lambda row: (row["question_id"], row["page"]))


def test_pages_are_left_out_and_told(run: RunSettings) -> None:
    report = run_job(run, QUESTIONS)
    found = {(row["question_id"], row["page"]): (row["status"] == "skipped", row["presence"]) for row in rows(run)}
    assert len(found) == 9
    assert [found["total", page][0] for page in (1, 2, 3, 4)] == [True, False, True, False]
    assert [found["weight", page][0] for page in (1, 2, 3, 4)] == [False, True, True, True]  # one page is read
    assert found.pop(("first", 1)) == (False, None)
    assert {round(presence, 2) for _, presence in found.values()} == {0.02, 0.98}
    assert (report["counts"]["skipped"], report["counts"]["pending"], report["exit_code"]) == (5, 0, 0)
    assert (report["totals"]["skipped_questions"], report["totals"]["skipped_pages"]) == (5, 1)
    assert report["answer_settings"]["presence_fingerprint"] == word_reader().fingerprint
    assert "5 skipped" in closing_lines(json.loads(json.dumps(report)))
    documents = pq.read_table(Path(run.output, "documents")).to_pylist()
    told = {row["question_id"]: (row["pages_asked"], row["chosen_by"].endswith(" pages skipped")) for row in documents}
    assert told == {"total": (2, True), "weight": (1, True), "first": (1, False)}
    assert "of which 0 are to do" in forecast(run, QUESTIONS)
    again = run_job(run, QUESTIONS)
    assert (again["engine"], again["counts"]) == (None, report["counts"])


@pytest.mark.parametrize("page", [1, 2, 3, 4, 5])
def test_resumed_equals_uninterrupted(run: RunSettings, uninterrupted: list[dict[str, Any]], page: int) -> None:
    report = run_job(run, QUESTIONS, load=_interrupted(page))
    assert report["interrupted"]
    assert report["counts"]["pending"] > 0
    assert run_job(run, QUESTIONS)["exit_code"] == 0
    assert_alike(rows(run), uninterrupted)


def _interrupted(number: int) -> Callable[[ActorConfig], BundleAnswerer]:
    """Ctrl-C comes when the model is given its page of this number; the fifth is the best page, read after all."""

    def load(config: ActorConfig) -> BundleAnswerer:
        answerer = load_answerer(config)
        answerer.page_answerer.lanes = 1
        seen: list[int] = []
        whole = answerer.page_answerer._open

        def opened(*given: Any) -> Any:
            seen.append(1)
            if len(seen) == number:
                raise KeyboardInterrupt
            return whole(*given)

        answerer.page_answerer._open = opened  # type: ignore[method-assign]
        return answerer

    return load


def test_another_probability_or_presence_is_another_setting(
    run: RunSettings, tmp_path: Path, model: ModelChoice
) -> None:
    run_job(run, QUESTIONS)
    with pytest.raises(SettingsChangedError, match=r"--skip-below was 0\.3, is 0\.4"):
        run_job(run.model_copy(update={"skip_below": 0.4}), QUESTIONS)
    with pytest.raises(SettingsChangedError, match=r"--skip-below was 0\.3, is not set"):
        run_job(run.model_copy(update={"skip_below": None}), QUESTIONS)
    other = calibrate(tmp_path / "c.json", model, word_reader(2.0))
    with pytest.raises(SettingsChangedError, match=r"--calibration \(with --skip-below\) was"):
        run_job(run.model_copy(update={"calibration": other}), QUESTIONS)


def test_without_what_it_needs_it_is_refused_in_words(model: ModelChoice, tmp_path: Path) -> None:
    settings = answer_settings(model, 0)
    none = find_calibration(model, None, settings)
    assert with_skipping(none, model, settings, None) == settings
    with pytest.raises(
        UsageError, match=r"--skip-below needs a calibration of model .*, found none; make one with `docpipe"
    ):
        with_skipping(none, model, settings, 0.1)
    blind = find_calibration(model, calibrate(tmp_path / "c.json", model, None), settings)
    with pytest.raises(UsageError, match=r"c\.json does not tell: .* make one with `docpipe"):
        with_skipping(blind, model, settings, 0.1)
    off = model.model_copy(update={"prune": "off"})
    with pytest.raises(UsageError, match="--skip-below goes by the scores of an add-on.* leave --prune off out"):
        with_skipping(blind, off, answer_settings(off, 0), 0.1)


def test_a_failure_is_reproduced_with_it(run: RunSettings) -> None:
    assert f"--skip-below 0.3 --calibration {run.calibration}" in reproduce_command(run, QUESTIONS)
    assert "--calibration" not in reproduce_command(run.model_copy(update={"skip_below": None}), QUESTIONS)
