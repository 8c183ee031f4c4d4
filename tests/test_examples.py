"""The examples can be used as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.questions.file import load_questions
from pipeline.records import Failure
from tests.support.bundles import result_of, units_and_bundles
from tests.support.calibrations import believing
from tests.support.published import READINGS, everything

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPT = EXAMPLES / "read_answers.py"


@pytest.mark.parametrize("name", ["invoices", "contracts", "lab_reports"])
def test_questions_to_start_from_are_valid(name: str) -> None:
    file = str(EXAMPLES / f"{name}.yaml")
    result = CliRunner().invoke(app, ["questions", "check", file])
    assert result.exit_code == 0, result.output
    assert len(load_questions(file).questions) >= 10


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """An output folder: documents of 3 and 1 pages, one that cannot be opened, and one page that cannot be read."""
    store = OutputStore(Folder(str(tmp_path)), "docpipe run --input {input}")
    _, bundles = units_and_bundles([3, None, 1])
    last = {(d.document_id, 3): Failure("render", "RenderTimeout", "too slow") for d in bundles[0].documents[:1]}
    for bundle in bundles:
        store.commit(result_of(bundle, last))
    publish(store, READINGS, everything(store), believing())
    return tmp_path


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def _sections(text: str) -> dict[str, list[list[str]]]:
    """Title -> rows of cells, without the head of each table."""
    found: dict[str, list[list[str]]] = {}
    for section in text.strip().split("\n\n\n"):
        title, *lines = section.strip().splitlines()
        rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
        found[title] = rows[2:]  # behind the names and types of the columns
    return found


def test_the_script_reads_an_output_folder(answers: Path) -> None:
    run = _run(str(answers), "--confidence", "0.4")
    assert run.returncode == 0, run.stderr
    confident, per_question, review, per_page = _sections(run.stdout).values()
    # Page 1 is answered with confidence 1/2, the n/a of page 2 is doubtful, page 3 failed, a document cannot be opened.
    assert {tuple(row[1:3]) for row in confident} == {("1", "date"), ("1", "total")}
    assert [row[:6] for row in per_question] == [["date", "3", "2", "0", "0", "1"], ["total", "5", "2", "0", "1", "2"]]
    assert sorted(row[5] for row in review) == ["EncryptedDocument", "EncryptedDocument", "RenderTimeout", "unsure"]
    assert [row[1:4] for row in per_page] == [["1", "2", "1836"], ["2", "1", "1836"], ["1", "2", "1836"]]
    assert {row[5] for row in per_page} == {"6000.0", "3000.0"}


def test_nobody_is_confident_enough(answers: Path) -> None:
    run = _run(str(answers), "--confidence", "0.99")
    assert run.returncode == 0, run.stderr
    assert _sections(run.stdout)["Answers with a confidence of 0.99 or more"] == []


def test_a_folder_without_answers_is_refused(tmp_path: Path) -> None:
    run = _run(str(tmp_path))
    assert run.returncode == 2
    assert "expected the --output of a run" in run.stderr
