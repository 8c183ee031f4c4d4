from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.cluster.payload import pack, unpack
from jobs.cluster.submit import _exit_code, _travelling, submit
from jobs.commands.doctor import examine
from jobs.commands.forecast import forecast
from jobs.run.report import _opening_command, closing_lines
from jobs.settings import RunSettings
from pipeline.errors import UsageError
from pipeline.questions.file import load_questions
from pipeline.samples.write import pick_seeds, questions_file, write_samples
from tests.support.all_read import ALL_READ


@pytest.fixture
def settings(tiny_base: Path, tiny_addon: Path, tmp_path: Path) -> RunSettings:
    write_samples(tmp_path / "samples", pick_seeds(0, 4), keys=("total", "date", "city"))
    pdfs, questions = tmp_path / "samples" / "pdfs", tmp_path / "samples" / "questions.yaml"
    (pdfs / "broken.pdf").write_bytes(b"text")
    return RunSettings(
        input=(str(pdfs),),
        questions=str(questions),
        output=str(tmp_path / "out"),
        model=str(tiny_base),
        glimpse=str(tiny_addon),
    )


def test_plan_says_what_a_run_would_do_and_writes_nothing(settings: RunSettings, tmp_path: Path) -> None:
    report = forecast(settings, load_questions(settings.questions))
    assert dict(line.split(None, 1) for line in report.splitlines()[:5]) == {
        "documents": "5, of which 1 cannot be opened",
        "pages": "4",
        "questions": "3",
        "units": "15, of which 0 are done",
        "answers": "15, of which 15 are to do",
    }
    (tokens,) = re.findall(r"(?m)^visual tokens    \d+ on 4 pages to do, (\d+) per page$", report)
    assert int(tokens) > 0
    assert re.search(r"(?m)^memory per model \S+ GB of weights \+ 0.000 GB of KV cache for one question", report)
    assert report.splitlines()[-2:] == [
        "cannot be opened:",
        "  broken.pdf: UnsupportedDocument: expected a PDF or an image; the file begins with b'text'; "
        "if a program opens it, print it to a PDF there",
    ]
    assert "time             unknown until a run" in report
    assert not (tmp_path / "out").exists()


def test_plan_estimates_from_the_last_run_only(settings: RunSettings, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(json.dumps({"this_run": {"pages_per_s": 0.05}}))
    report = forecast(settings, load_questions(settings.questions))
    assert "time             about 1.3 min at the 0.05 pages/s of the last run" in report


def test_samples_command(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(app, ["samples", "--out", str(tmp_path / "a"), "--documents", "3", "--seed", "7"])
    assert outcome.exit_code == 0, outcome.output
    write_samples(tmp_path / "b", pick_seeds(7, 3))
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) == 5
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    assert len(load_questions(str(tmp_path / "a" / "questions.yaml")).questions) == 20
    assert load_questions(str(tmp_path / "a" / "questions.yaml")).questions[0].to_ask(None).prompt == (
        "What is the invoice number?"
    )
    assert "invoice_no" not in questions_file(("total",))


def test_doctor() -> None:
    lines, healthy = examine("cpu")
    assert healthy
    text = "\n".join(lines)
    assert "golden numbers   ok on cpu" in text
    assert "transformers     5." in text
    assert "GiB free" in text
    (renderer,) = [line for line in lines if line.startswith("renderer ")]
    assert renderer.split(maxsplit=1)[1].startswith(
        ("without network and write access", "NOT CONFINED, the kernel refused")
    )


def test_doctor_refuses_a_stack_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glimpseprune.golden._TOLERANCE", {torch.float32: 0.0})
    outcome = CliRunner().invoke(app, ["doctor"])
    assert outcome.exit_code == 3
    assert "golden numbers   WRONG: " in outcome.output
    assert "generated tokens" in outcome.output


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({}, "--input"),
        ({"input": ("s3://bucket/in",)}, "--output"),
        ({"input": ("s3://bucket/in",), "output": "s3://bucket/out"}, "--model"),
        ({"input": ("s3://bucket/in",), "output": "s3://bucket/out", "model": "Qwen/x"}, "--glimpse"),
    ],
)
def test_local_paths_are_not_sent_to_a_cluster(settings: RunSettings, changes: dict[str, Any], flag: str) -> None:
    sent = RunSettings(**{**settings.flat(), "address": "http://head:8265", **changes})
    with pytest.raises(UsageError, match=f"{flag} .* is a path of this machine"):
        submit(sent, load_questions(settings.questions), "http://head:8265")


@pytest.mark.parametrize("flag", ["input", "output"])
def test_a_password_in_an_address_is_not_sent_to_a_cluster(settings: RunSettings, flag: str) -> None:
    secret = "sftp://me:hunter2@nas/x"
    changes = {"input": ("s3://bucket/in",), "output": "s3://bucket/out", "model": "Qwen/x", "glimpse": None}
    changes[flag] = (secret,) if flag == "input" else secret
    with pytest.raises(UsageError, match=f"--{flag} sftp://me@nas/x: there is a password in it"):
        _travelling(RunSettings(**{**settings.flat(), **changes}))


def test_two_addresses_that_contradict_each_other(settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://other:8265")
    with pytest.raises(UsageError, match="RAY_ADDRESS=http://other:8265"):
        submit(settings.model_copy(update={"shared_fs": True}), load_questions(settings.questions), "http://head:8265")


def test_a_submission_holds_settings_and_questions(settings: RunSettings) -> None:
    questions = load_questions(settings.questions)
    assert unpack(pack(settings, questions, None)) == (settings, questions, None)
    noise = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=200_000))
    with pytest.raises(UsageError, match="a submission takes 96,000"):
        pack(settings.model_copy(update={"input": (noise,)}), questions, None)


def test_relative_paths_are_made_absolute_for_the_cluster(
    settings: RunSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    changes = {"input": ("in", "s3://bucket/x", "file:///data"), "output": "out", "model": "m", "glimpse": "who/knows"}
    there = _travelling(RunSettings(**{**settings.flat(), **changes, "shared_fs": True, "address": "auto"}))
    assert there.input == (f"{tmp_path}/in", "s3://bucket/x", "/data")
    assert (there.output, there.choice.model, there.choice.glimpse) == (f"{tmp_path}/out", f"{tmp_path}/m", "who/knows")
    assert (there.address, there.detach) == (None, False)
    with pytest.raises(UsageError, match="--input file:///data is a path of this machine"):
        _travelling(settings.model_copy(update={"input": ("file:///data",), "output": "s3://bucket/out"}))


@pytest.mark.parametrize(
    ("status", "driver", "code"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 3, 3),
        ("FAILED", -9, 3),
        ("FAILED", None, 3),
        ("STOPPED", 0, 130),
    ],
)
def test_the_exit_code_of_a_job_is_that_of_its_run(status: str, driver: int | None, code: int) -> None:
    info = SimpleNamespace(status=SimpleNamespace(value=status), driver_exit_code=driver)
    assert _exit_code(info) == code


def test_point_16_the_summary_begins_with_the_answers_and_how_to_open_them(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"python": str(Path(sys.executable).parent / "python")}
    monkeypatch.setattr("jobs.run.report.shutil.which", installed.get)
    counts = {
        "planned": 9,
        "answered": 4,
        "not_answerable": 0,
        "skipped": 0,
        "pending": 2,
        "failed": 1,
        "needs_review": 2,
    }
    report = {
        "counts": counts,
        "documents": 3,
        "pages": 5,
        "model_note": None,
        "this_run": {"bundles": 2, "pages": 4, "pages_per_s": 2.0},
        "totals": {
            "retention": 0.0731,
            "kv_bytes_full": 5_000_000,
            "kv_bytes_kept": 400_000,
            "asked_again": 1,
            "changed_again": 0,
            "looked_again": 2,
            "later_taken": 1,
        },
        "interrupted": True,
        "settings": {"output": "out/", "verbose": False},
        **ALL_READ,
        "exit_code": 130,
    }
    first = "3 documents, 5 pages, 9 answers: 4 answered, 2 to review, 1 failed, 2 not done yet"
    where = [
        "answers: out/documents/ (per document and question), out/answers/ (per page and question)",
        "reasons of the failures: out/failures/",
        "open them: python -c \"import pandas; print(pandas.read_parquet('out/documents'))\"",
    ]
    assert closing_lines(report).splitlines() == [first, "interrupted; the same command resumes", *where]
    told = {**report, "interrupted": False, "settings": {"output": "out", "verbose": True}}
    assert closing_lines(told).splitlines() == [
        first,
        "7.3% of the visual tokens kept; KV cache 5.0 MB without pruning, 0.4 MB with",
        "1 question asked again without pruning, of which 0 came out otherwise",
        "2 questions asked again at another size, of which 1 came out otherwise",
        "4 pages in this run, 2.00 pages/s",
        *where,
    ]
    one = {**report, "documents": 1, "pages": 1, "counts": {**dict.fromkeys(counts, 0), "planned": 1, "answered": 1}}
    assert closing_lines(one).splitlines()[0] == "1 document, 1 page, 1 answer: 1 answered"
    installed["duckdb"] = "/usr/bin/duckdb"
    assert closing_lines(report).splitlines()[-1] == "open them: duckdb -c \"from 'out/documents/*.parquet'\""


@pytest.mark.parametrize("name", ["out", 'it\'s $(my) "out" \\n `x`'])
def test_the_command_that_opens_a_table_runs_as_it_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.run.report.shutil.which", lambda _name: None)
    table = tmp_path / name / "documents" / "documents.parquet"
    table.parent.mkdir(parents=True)
    pq.write_table(pa.table({"answer": ["Harbor Foods"]}), table)
    shown = subprocess.run(_opening_command(str(table.parent)), shell=True, check=True, capture_output=True, text=True)
    assert "Harbor Foods" in shown.stdout


def test_a_single_question_is_counted_in_the_singular(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text("version: 1\nquestions: [{id: a, text: A}]")
    said = CliRunner().invoke(app, ["questions", "check", str(tmp_path / "q.yaml")]).stdout
    assert said == f"{tmp_path}/q.yaml: 1 question: a\n"
