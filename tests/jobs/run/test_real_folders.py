"""Folders as people have them, from the listing to the tables; the engine is the plain loop, without a model."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.commands.forecast import forecast
from jobs.run.job import run_job
from jobs.run.ray_workers import ActorConfig
from jobs.run.report import closing_lines
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.errors import UsageError
from pipeline.file_names import printable, readable
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.pages.documents import find_documents
from pipeline.questions.file import load_questions, parse_questions
from tests.support.helpers import FakePageAnswerer
from tests.support.hostile import text_pdf
from tests.support.odd_names import ODD_NAMES

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.pdf").write_bytes(text_pdf(1))
    return tmp_path / "in"


@pytest.fixture
def settings(root: Path, tmp_path: Path, tiny_base: Path) -> RunSettings:
    (tmp_path / "q.yaml").write_text('version: 1\nquestions: [{id: a, text: "Total?"}]\n')
    return RunSettings(
        input=(str(root),),
        questions=str(tmp_path / "q.yaml"),
        output=str(tmp_path / "out"),
        model=str(tiny_base),
        max_visual_tokens=16,
        engine="local",
        quiet=True,
    )


def fake(config: ActorConfig) -> BundleAnswerer:
    folder = Folder(config.output)
    return BundleAnswerer(FakePageAnswerer(), OutputStore(folder, config.command), Markers(folder))  # type: ignore[arg-type]


def answer(settings: RunSettings) -> dict[str, Any]:
    return run_job(settings, load_questions(settings.questions), load=fake)


def statuses(settings: RunSettings) -> dict[str, str]:
    rows = pq.read_table(Path(settings.output, "answers")).to_pylist()
    return {row["document"]: row["status"] for row in rows}


def test_one_bad_name_does_not_stop_the_run(settings: RunSettings, root: Path) -> None:
    (root / "self.pdf").symlink_to("self.pdf")
    (root / "long.pdf").symlink_to("x" * 300)
    (root / os.fsdecode(b"Rechnung_M\xfcller.pdf")).write_bytes(text_pdf(1))
    report = answer(settings)
    assert statuses(settings) == {
        "good.pdf": "answered",
        "Rechnung_M\\xfcller.pdf": "answered",
        "self.pdf": "failed",
        "long.pdf": "failed",
    }
    failures = pq.read_table(Path(settings.output, "failures")).to_pylist()
    assert {(row["document"], row["error_type"]) for row in failures} == {
        ("self.pdf", "DocumentUnreadable"),
        ("long.pdf", "DocumentUnreadable"),
    }
    assert (report["exit_code"], report["failed_documents"]) == (1, 2)
    said = closing_lines(report)
    reason = "it is a link to self.pdf, which cannot be followed: Too many levels of symbolic links"
    assert f"  self.pdf: 1 answer, DocumentUnreadable: {reason}" in said.splitlines()
    assert "exit code 1: 50.0% of the answers failed, more than --max-failed-share 0.05 (5.0%) allows" in said
    assert f"  self.pdf: DocumentUnreadable: {reason}" in forecast(settings, load_questions(settings.questions))


def test_an_input_that_is_not_utf8_is_read(settings: RunSettings, root: Path) -> None:
    latin = root.rename(root.with_name(os.fsdecode(b"Gesch\xe4ft")))
    report = answer(settings.model_copy(update={"input": (str(latin),)}))
    assert report["counts"]["answered"] == 1
    assert report["settings"]["input"] == [readable(str(latin))]


def test_the_recorded_command_runs_as_it_stands(settings: RunSettings, root: Path, tmp_path: Path) -> None:
    """Each document fails; its command is run in a shell, from another folder, and finds that document again."""
    (root / "good.pdf").unlink()
    for name in ODD_NAMES:
        (root / "2024" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "2024" / name).write_bytes(b"no PDF")
    questions = tmp_path / "it's $(my) questions.yaml"
    questions.write_text('version: 1\nquestions: [{id: a, text: "Total?", documents: "2024/**"}]\n')
    answer(settings.model_copy(update={"questions": str(questions)}))
    failures = {row["document"]: row for row in pq.read_table(Path(settings.output, "failures")).to_pylist()}
    assert failures.keys() == {f"2024/{readable(name)}" for name in ODD_NAMES}
    shown = "docpipe() { for word; do printf '%s\\0' \"$word\"; done; printf '\\0'; }\n"
    script = shown + "\n".join(row["command"] for row in failures.values())
    heard = subprocess.run(["bash", "-c", script], check=True, capture_output=True, cwd="/").stdout
    for words, document in zip(os.fsdecode(heard).split("\0\0")[:-1], failures, strict=True):
        flags = words.split("\0")
        assert flags[:2] == ["run", "--input"]
        (found,) = find_documents(flags[2:3]).documents
        assert (found.path, found.document_id) == (document, failures[document]["document_id"])
        if not document.endswith(("::v2.pdf", "break.pdf", "\\xfc.pdf")):  # a few are enough for the whole command
            continue
        outcome = CliRunner().invoke(app, ["plan", *flags[1:]])
        assert outcome.exit_code == 0, outcome.output
        assert "documents        1, of which 1 cannot be opened" in outcome.output
        assert f"  {printable(document)}: " in outcome.output


@pytest.mark.parametrize("name", ["q::1", "a#b?c%41 q[1]*'$(z)", os.fsdecode(b"M\xfcller")])
def test_point_8_questions_and_output_are_taken_as_they_are_named(
    settings: RunSettings, root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative names, and a document that fails; the command in its row runs from another folder."""
    (root / "good.pdf").write_bytes(b"no PDF")
    monkeypatch.chdir(root.parent)
    Path(settings.questions).rename(f"{name}.yaml")
    report = answer(settings.model_copy(update={"questions": f"{name}.yaml", "output": f"{name}::c/"}))
    assert f"answers: {readable(name)}::c/documents/" in closing_lines(report)
    closing_lines(report).encode()
    assert {"answers", "parts", "run.json"} <= {path.name for path in Path(f"{name}::c").iterdir()}
    (written,) = Path(f"{name}::c", "failures").iterdir()
    with written.open("rb") as file:
        (row,) = pq.read_table(file).to_pylist()
    monkeypatch.chdir("/")
    *words, output = shlex.split(row["command"])
    assert output.startswith(f"reproduced-{row['document_id'][:8]}-")
    outcome = CliRunner().invoke(app, ["plan", *words[2:], str(root.parent / "again::#")])
    assert outcome.exit_code == 0, outcome.output
    assert "good.pdf: CorruptDocument" in outcome.output or "good.pdf: UnsupportedDocument" in outcome.output


def test_double_colon_in_a_name(settings: RunSettings, root: Path) -> None:
    (root / "Vertrag::v2.pdf").write_bytes(text_pdf(1))
    (root / "dir::x").mkdir()
    (root / "dir::x" / "a.pdf").write_bytes(text_pdf(1))
    assert answer(settings)["exit_code"] == 0
    assert statuses(settings) == dict.fromkeys(("good.pdf", "Vertrag::v2.pdf", "dir::x/a.pdf"), "answered")


def test_ignored_files_are_said(settings: RunSettings, root: Path) -> None:
    for name in ("a.DOCX", "b.docx", "fax.xps", "scan.pdf.bak", "noext"):
        (root / name).write_bytes(b"%PDF-1.7 or anything")
    line = "ignored: 2 .docx, 1 .bak, 1 .xps, 1 without a suffix"
    report = answer(settings)
    assert line in closing_lines(report).splitlines()
    assert line in forecast(settings, load_questions(settings.questions)).splitlines()
    stored = json.loads(Path(settings.output, "run.json").read_text())
    assert stored["ignored"] == {".bak": 1, ".docx": 2, ".xps": 1, "without a suffix": 1}


def test_a_question_without_a_match_is_said(
    settings: RunSettings, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "version: 1\nquestions: [{id: a, text: A}, {id: b, text: B, documents: 'in/*.pdf'}, {id: c, text: C, pages: 9}]"
    )
    questions = parse_questions(text, "q.yaml")
    report = run_job(settings.model_copy(update={"quiet": False}), questions, load=fake)
    assert (report["exit_code"], report["counts"]["planned"]) == (0, 1)
    b, c = report["unmatched_questions"].values()
    assert "'in/*.pdf' is matched against the path below --input, here 'good.pdf'" in b
    assert "its pages: '9' lie outside of the document" in c
    for lines in (capsys.readouterr().err, closing_lines(report), forecast(settings, questions)):
        assert [line for line in lines.splitlines() if line.startswith("warning: ")] == [
            f"warning: {b}",
            f"warning: {c}",
        ]


def test_a_document_that_no_question_is_asked_about_is_said(
    settings: RunSettings, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SCAN.PDF", "letter.pdf", "short.pdf"):
        (root / name).write_bytes(text_pdf(1))
    (root / "long.pdf").write_bytes(text_pdf(2))
    text = "version: 1\nquestions: [{id: a, text: A, documents: ['g*.pdf', 'S*.pdf']}, {id: b, text: B, pages: 2}]"
    questions = parse_questions(text, "q.yaml")
    report = run_job(settings.model_copy(update={"quiet": False}), questions, load=fake)
    assert set(statuses(settings)) == {"good.pdf", "SCAN.PDF", "long.pdf"}
    assert (report["unasked_documents"], report["first_unasked_documents"]) == (2, ["letter.pdf", "short.pdf"])
    warning = "warning: no question is asked about 2 documents: 'letter.pdf', 'short.pdf'; the documents and pages of"
    for lines in (capsys.readouterr().err, closing_lines(report), forecast(settings, questions)):
        assert len([line for line in lines.splitlines() if line.startswith(warning)]) == 1
    report = run_job(settings, parse_questions("version: 1\nquestions: [{id: a, text: A}]", "q.yaml"), load=fake)
    assert (report["unasked_documents"], "warning" in closing_lines(report)) == (0, False)


def test_a_run_without_any_row_is_a_usage_error(settings: RunSettings) -> None:
    questions = parse_questions("version: 1\nquestions: [{id: b, text: B, documents: 'in/*.pdf'}]", "q.yaml")
    for command in (run_job, forecast):
        with pytest.raises(UsageError, match=r"no question matches any page.*\nquestion 'b' is asked of no document"):
            command(settings, questions)
    assert os.listdir(settings.output) == ["cache"]


def test_a_run_without_any_document_leaves_no_folder_behind(settings: RunSettings, root: Path, tmp_path: Path) -> None:
    (root / "good.pdf").unlink()
    settings = settings.model_copy(update={"output": str(tmp_path / "new/deep/out")})
    with pytest.raises(UsageError):
        answer(settings)
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    with pytest.raises(UsageError):
        answer(settings)
    assert os.listdir(tmp_path / "new") == []
