"""A log for machines: every line is an object, lines about pages name run, document and page, and no secret is told."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.log import Log
from jobs.run.job import run_job
from tests.support.colours import WHITE, load_colours, make_pdf
from tests.support.engines import QUESTIONS, settings_of


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def pdfs(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / "sub"
    folder.mkdir(parents=True)
    make_pdf(folder / "a.pdf", [WHITE] * 3)
    make_pdf(folder / "b\nc.pdf", [WHITE])
    with pymupdf.open() as locked:
        locked.new_page()
        locked.save(folder / "locked.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret")
    return tmp_path / "in"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_each_page_has_a_line_with_run_document_and_page(
    engine: Any, pdfs: Path, tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = settings_of(pdfs, tmp_path / "out", engine, tiny_base, log_format="json")
    report = run_job(run.model_copy(update={"quiet": False}), QUESTIONS, load=load_colours)
    ours = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("{")
    ]  # beside those of a shared Ray
    said = lines("\n".join(ours))
    assert {line["run"] for line in said} == {report["run_id"]}
    pages = [line for line in said if line["event"] == "page"]
    places = Counter((line["document"], line["page"]) for line in pages)
    assert places == {("sub/a.pdf", n): 1 for n in (1, 2, 3)} | {("sub/b\nc.pdf", 1): 1, ("sub/locked.pdf", None): 1}
    by_place = {(line["document"], line["page"]): line for line in pages}
    assert by_place["sub/a.pdf", 1]["statuses"] == {"answered": 2}
    assert by_place["sub/a.pdf", 2]["statuses"] == {"answered": 1}
    assert by_place["sub/a.pdf", 1]["message"] == "page 1 of sub/a.pdf: 2 answered"
    assert by_place["sub/b\nc.pdf", 1]["message"] == "page 1 of sub/b\\nc.pdf: 2 answered"
    locked = by_place["sub/locked.pdf", None]
    assert (locked["level"], [failure["type"] for failure in locked["failures"]]) == (
        "warning",
        ["EncryptedDocument"] * 2,
    )
    assert {line["level"] for line in pages if line is not locked} == {"info"}
    statuses = sum((Counter(line["statuses"]) for line in pages), Counter())
    assert statuses == {name: count for name, count in report["counts"].items() if count and name != "planned"}
    assert all(line["document_id"] and line["bundle"] and line["time"] for line in pages)


def test_as_text_pages_have_no_lines(
    pdfs: Path, tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = settings_of(pdfs, tmp_path / "out", "local", tiny_base)
    run_job(run.model_copy(update={"quiet": False}), QUESTIONS, load=load_colours)
    assert "a.pdf" not in capsys.readouterr().err
    quiet = settings_of(pdfs, tmp_path / "quiet", "local", tiny_base, log_format="json")
    run_job(quiet, QUESTIONS, load=load_colours)
    assert capsys.readouterr().err == ""


def command(pdfs: Path, out: Path, *more: str) -> list[str]:
    (out.parent / "q.yaml").write_text('version: 1\nquestions: [{id: total, text: "What is the total?"}]')
    questions = str(out.parent / "q.yaml")
    return ["run", "-i", str(pdfs), "-q", questions, "-o", str(out), "--log-format", "json", *more]


def test_the_command_says_nothing_but_objects(pdfs: Path, tmp_path: Path, one_thread: None) -> None:
    done = CliRunner().invoke(app, command(pdfs, tmp_path / "out", "--device", "cpu", "--engine", "local"))
    assert (done.exit_code, done.stdout) == (1, "")  # a fifth of the answers failed
    said = lines(done.stderr)
    assert [line["event"] for line in said if line["event"] not in ("page", "progress")] == ["model", "ended"]
    ended = said[-1]
    assert (ended["event"], ended["exit_code"], ended["counts"]["failed"], ended["documents"]) == ("ended", 1, 1, 3)
    assert ended["message"] == "5 answers, of which 1 failed"


def test_an_error_is_an_object_too(pdfs: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, command(tmp_path / "nowhere", tmp_path / "out"))
    assert ended.exit_code == 2
    (line,) = lines(ended.stderr)
    assert (line["event"], line["level"], line["exit_code"], line["run"]) == ("failed", "error", 2, None)
    assert line["message"].startswith("docpipe: ")
    assert "nowhere" in line["message"]
    planned = CliRunner().invoke(app, ["plan", *command(tmp_path / "nowhere", tmp_path / "out")[1:]])
    assert [line["event"] for line in lines(planned.stderr)] == ["failed"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--dpi", "abc"], "'abc'"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--dpi", "-1"], "--dpi"),
        (["--log-format", "json", "--engine", "nobody"], "nobody"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_an_object_too(
    pdfs: Path, tmp_path: Path, words: list[str], reason: str
) -> None:
    ended = CliRunner().invoke(app, command(pdfs, tmp_path / "out", *words))
    (line,) = lines(ended.stderr)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert (line["event"], line["level"], line["exit_code"]) == ("failed", "error", 2)
    assert line["message"].startswith("docpipe: ")
    assert reason in line["message"]


def test_what_loggers_say_is_an_object_while_the_run_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("pipeline.output.lock")
    with Log("json", "r").with_warnings():
        logger.warning("the lock of %s was lost", "a machine")
        logger.info("nobody wants to know")
    (line,) = lines(capsys.readouterr().err)
    told = (line["event"], line["level"], line["run"], line["message"])
    assert told == ("pipeline.output.lock", "warning", "r", "the lock of a machine was lost")
    assert not logging.getLogger("pipeline").handlers
    with Log("text").with_warnings():
        assert not logging.getLogger("pipeline").handlers
