"""Who uses the embedded model hears once what it reads, from plan and run, and finds it in run.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.commands.forecast import forecast
from jobs.run.job import run_job
from jobs.run.ray_workers import ActorConfig
from jobs.run.report import closing_lines
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.questions.file import parse_questions
from tests.support.colours import WHITE, make_pdf
from tests.support.helpers import FakePageAnswerer

QUESTIONS = parse_questions('version: 1\nquestions: [{id: a, text: "A?"}]', "q.yaml")
READS = "it reads invoices, receipts, orders, delivery notes and report slips like those of `docpipe samples`"


def load(config: ActorConfig) -> BundleAnswerer:
    folder = Folder(config.output)
    return BundleAnswerer(FakePageAnswerer(), OutputStore(folder), Markers(folder))  # type: ignore[arg-type]


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    make_pdf(tmp_path / "a.pdf", [WHITE])
    return RunSettings(
        input=(str(tmp_path / "a.pdf"),), questions="q.yaml", output=str(tmp_path / "out"), engine="local"
    )


def test_plan(settings: RunSettings) -> None:
    assert READS in forecast(settings, QUESTIONS)


def test_run_and_its_report(settings: RunSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run_job(settings, QUESTIONS, load=load)
    assert READS in capsys.readouterr().err
    assert READS in json.loads((tmp_path / "out/run.json").read_text())["model_note"]
    assert READS not in closing_lines(report)  # it was said when the run began


def test_a_quiet_run_keeps_it_in_the_report(settings: RunSettings, capsys: pytest.CaptureFixture[str]) -> None:
    report = run_job(settings.model_copy(update={"quiet": True}), QUESTIONS, load=load)
    assert capsys.readouterr().err == ""
    assert READS in report["model_note"]


def test_other_models_need_no_note(settings: RunSettings, tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choice = settings.choice.model_copy(update={"model": str(tiny_base), "max_visual_tokens": 16})
    other = settings.model_copy(update={"choice": choice})
    assert "embedded" not in forecast(other, QUESTIONS)
    report = run_job(other, QUESTIONS, load=load)
    assert "embedded" not in capsys.readouterr().err
    assert report["model_note"] is None
    assert "embedded" not in closing_lines(report)
