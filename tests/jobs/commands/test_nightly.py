"""Nights: each computes what is new or changed and nothing else, and says what it came to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.commands.nightly import hold_night
from jobs.run import job
from jobs.run.job import run_job
from jobs.settings import RunSettings, load_night
from pipeline.errors import EngineError, SettingsChangedError, UsageError
from pipeline.output.drift import Thresholds
from pipeline.output.folder import Folder
from pipeline.output.nights import Night, read_nights
from pipeline.questions.file import QuestionSet, parse_questions
from tests.support.colours import WHITE, load_colours, make_pdf

LOOSE = Thresholds(least_rows=4)


def asked(*questions: str) -> QuestionSet:
    return parse_questions(f"version: 1\nquestions: [{', '.join(questions)}]", "q.yaml")


FIRST = asked("{id: total, text: What is the total}", "{id: date, text: When}", "{id: who, text: Who}")


@pytest.fixture
def settings(tmp_path: Path, tiny_base: Path) -> RunSettings:
    (tmp_path / "in").mkdir()
    for number in range(12):
        make_pdf(tmp_path / "in" / f"{number:02}.pdf", [WHITE] * 2)
    return RunSettings(
        input=(str(tmp_path / "in"),),
        questions="q.yaml",
        output=str(tmp_path / "out"),
        model=str(tiny_base),
        max_visual_tokens=16,
        engine="local",
        device="cpu",
        max_failed_share=1.0,
    )


def here(settings: RunSettings, questions: QuestionSet) -> int:
    quiet = settings.model_copy(update={"quiet": True})
    return int(run_job(quiet, questions, load=load_colours)["exit_code"])


def night(
    settings: RunSettings, questions: QuestionSet = FIRST, thresholds: Thresholds = LOOSE
) -> tuple[int, Night, str]:
    lines: list[str] = []
    before = read_nights(Folder(settings.output), 99)
    code = hold_night(settings, questions, thresholds, here, lines.append)
    (added,) = [one for one in read_nights(Folder(settings.output), 99) if one not in before]
    return code, added, "\n".join(lines)


@pytest.mark.slow
def test_a_night_computes_what_is_new_or_changed_and_nothing_else(settings: RunSettings, tmp_path: Path) -> None:
    code, first, said = night(settings)
    assert (code, first.rows, first.documents, first.new_documents) == (0, 12 * 2 * 3, 12, None)
    assert "documents  12, in the first night" in said
    code, idle, said = night(settings)
    assert (code, idle.rows, idle.retention) == (0, 0, None)
    assert (idle.new_documents, idle.changed_documents, idle.deleted_documents) == (0, 0, 0)
    assert "computed   nothing; nothing was new" in said

    for number in (12, 13, 14):
        make_pdf(tmp_path / "in" / f"{number:02}.pdf", [WHITE] * 2)
    make_pdf(tmp_path / "in" / "00.pdf", [WHITE] * 5)
    make_pdf(tmp_path / "in" / "01.pdf", [WHITE] * 1)
    (tmp_path / "in" / "02.pdf").unlink()
    changed = asked("{id: total, text: What is the sum}", "{id: date, text: When}", "{id: city, text: Where}")
    code, third, said = night(settings, changed)
    pages = {"unchanged": 9 * 2, "new or changed": 3 * 2 + 5 + 1}
    assert third.rows == pages["unchanged"] * 2 + pages["new or changed"] * 3
    assert (third.new_documents, third.changed_documents, third.deleted_documents) == (3, 2, 1)
    assert (third.new_questions, third.reworded_questions, third.gone_questions) == (["city"], ["total"], ["who"])
    assert "documents  14: 3 new, 2 changed, 1 deleted" in said
    assert "questions  3: new city; reworded total; gone who" in said
    current = [row for row in pq.read_table(tmp_path / "out/answers").to_pylist() if row["is_current"]]
    keys = {(row["document"], row["page"], row["question_id"]) for row in current}
    assert len(current) == len(keys) == 3 * sum(pages.values())
    assert {row["run_id"] for row in current if row["question_id"] == "total"} == {third.run_id}
    assert [one.run_id for one in read_nights(Folder(settings.output), 99)] == sorted(
        one.run_id for one in (first, idle, third)
    )


def test_a_night_unlike_the_others_is_told_and_has_an_exit_code(settings: RunSettings, tmp_path: Path) -> None:
    assert night(settings)[0] == 0
    for number in range(5):
        (tmp_path / "in" / f"bad{number}.pdf").write_bytes(b"no PDF")
    make_pdf(tmp_path / "in" / "sound.pdf", [WHITE] * 2)
    code, drifted, said = night(settings.model_copy(update={"quiet": True}))
    assert code == drifted.exit_code == 1
    assert (drifted.rows, drifted.statuses) == (21, {"answered": 6, "failed": 15})
    assert sum(drifted.failures.values()) == 15
    assert "DRIFT      share of failed answers was 0.000, is 0.714: +0.714, where 0.02 is allowed (failed)" in said
    assert "bad0.pdf: 3 answers, " in said
    assert night(settings.model_copy(update={"quiet": True}))[2] == ""


def test_a_night_that_ends_early_is_kept_and_the_next_one_goes_on(
    settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(self: Any, *_: Any) -> None:
        raise EngineError("Ray gave up")

    lines: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(job._Job, "_one_pass", lost)
        with pytest.raises(EngineError, match="Ray gave up"):
            hold_night(settings, FIRST, LOOSE, here, lines.append)
    (kept,) = read_nights(Folder(settings.output), 9)
    assert (kept.exit_code, kept.error, kept.pending, kept.rows) == (3, "Ray gave up", 72, 0)
    assert "ENDED EARLY Ray gave up" in lines
    assert not [line for line in lines if line.startswith("LIMIT")]
    assert "NOT DONE   72 answers; the same command goes on" in lines
    code, following, _ = night(settings)
    assert (code, following.rows, following.pending, following.new_documents) == (0, 72, 0, None)
    said = night(settings.model_copy(update={"limit": 2}))[2]
    assert "LIMIT      at most 2 documents by limit in the job file; any others were not read" in said


def test_a_run_refuses_a_reworded_question_unless_it_is_told(settings: RunSettings) -> None:
    here(settings, FIRST)
    other = asked("{id: total, text: What is the sum}", "{id: date, text: When}", "{id: who, text: Who}")
    with pytest.raises(SettingsChangedError, match="total a new id, or change it back, or take --reworded"):
        here(settings, other)
    report = run_job(settings.model_copy(update={"reworded": True}), other, load=load_colours)
    assert report["this_run"]["rows"] == 24
    changed = settings.model_copy(update={"reworded": True, "seed": 5})
    with pytest.raises(SettingsChangedError, match="--seed was 0, is 5"):
        here(changed, other)


def test_a_run_that_ended_before_it_began_leaves_no_night(settings: RunSettings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        hold_night(settings.model_copy(update={"input": (str(tmp_path / "nope"),)}), FIRST, LOOSE, here, print)
    with pytest.raises(EngineError, match="ended without a report"):
        hold_night(settings, FIRST, LOOSE, lambda *_: 3, print)
    assert hold_night(settings, FIRST, LOOSE, lambda *_: 130, print) == 130
    with pytest.raises(UsageError, match="^detach: "):
        hold_night(settings.model_copy(update={"detach": True, "address": "auto"}), FIRST, LOOSE, here, print)
    assert read_nights(Folder(settings.output), 9) == []


JOB = """
input = "in"
questions = "q.yaml"
output = "out"
engine = "local"
max-failed-share = 0.5

[nightly]
nights = 3
retention = 0.2
"""


def test_a_job_file_holds_the_settings_of_run_and_thresholds(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(JOB)
    settings, thresholds = load_night(tmp_path / "job.toml")
    assert (settings.input, settings.max_failed_share) == (("in",), 0.5)
    assert thresholds == Thresholds(nights=3, retention=0.2)
    (tmp_path / "job.toml").write_text(JOB.replace("retention = 0.2", "retention = 2\nnihgts = 1"))
    with pytest.raises(UsageError, match=r"\[nightly\] retention: .*than or equal to 1, found 2; nihgts: unknown key"):
        load_night(tmp_path / "job.toml")
    (tmp_path / "job.toml").write_text('nightly = 3\ninput = "in"')
    with pytest.raises(UsageError, match=r"nightly: expected a table, the line \[nightly\] with .* below it, found 3$"):
        load_night(tmp_path / "job.toml")


def test_a_job_file_may_be_a_pipe() -> None:
    end, start = os.pipe()
    os.write(start, JOB.encode())
    os.close(start)
    settings, thresholds = load_night(Path(f"/dev/fd/{end}"))  # as a shell makes of <(...)
    os.close(end)
    assert (settings.output, thresholds.nights) == ("out", 3)


def test_the_command_submits_or_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.yaml").write_text("version: 1\nquestions: [{id: a, text: b}]")
    (tmp_path / "job.toml").write_text(JOB)
    seen: list[tuple[str, bool]] = []

    def run(settings: RunSettings, *_: Any) -> dict[str, Any]:
        seen.append(("here", settings.reworded))
        raise UsageError("no document")

    monkeypatch.setattr("jobs.run.job.run_job", run)
    monkeypatch.setattr("jobs.cli.nightly.submit_and_follow", lambda settings, *_: seen.append(("there", True)) or 130)
    outcome = CliRunner().invoke(app, ["nightly", "--config", "job.toml"])
    assert (outcome.exit_code, outcome.output) == (2, "docpipe: no document\n")
    (tmp_path / "job.toml").write_text(JOB.replace('engine = "local"', 'address = "http://head:8265"'))
    assert CliRunner().invoke(app, ["nightly", "--config", "job.toml"]).exit_code == 130
    assert seen == [("here", True), ("there", True)]
    assert not (tmp_path / "out").exists()
