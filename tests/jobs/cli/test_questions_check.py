"""A questions file, or a schema, is checked before anything is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

from typer.testing import CliRunner

from jobs.cli.main import app

CLI = CliRunner()


def test_questions_check(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text("version: 1\nquestions: [{id: a, text: b}, {id: c, text: d}]")
    outcome = CLI.invoke(app, ["questions", "check", str(tmp_path / "q.yaml")])
    assert (outcome.exit_code, outcome.output) == (0, f"{tmp_path}/q.yaml: 2 questions: a, c\n")
    (tmp_path / "q.yaml").write_text("version: 1\nquestions: [{id: a}]")
    outcome = CLI.invoke(app, ["questions", "check", str(tmp_path / "q.yaml")])
    assert outcome.exit_code == 2
    assert "q.yaml:2: questions.0.text: is required" in outcome.output


def test_questions_check_reads_what_another_program_writes() -> None:
    end, start = os.pipe()
    os.write(start, b"version: 1\nquestions: [{id: a, text: b}]")
    os.close(start)
    outcome = CLI.invoke(app, ["questions", "check", f"/dev/fd/{end}"])  # as a shell makes of <(...)
    os.close(end)
    assert (outcome.exit_code, outcome.output) == (0, f"/dev/fd/{end}: 1 question: a\n")


def test_questions_check_shows_what_a_schema_asks(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"issued": {"type": "string", "format": "date"}}}
    (tmp_path / "s.json").write_text(json.dumps(schema))
    outcome = CLI.invoke(app, ["questions", "check", "--schema", str(tmp_path / "s.json")])
    assert outcome.exit_code == 0
    assert outcome.output == f"{tmp_path}/s.json: 1 question: issued\n  issued (date): What is the issued?\n"
    for words in ([], ["q.yaml", "--schema", "s.json"]):
        outcome = CLI.invoke(app, ["questions", "check", *words])
        assert (outcome.exit_code, outcome.output) == (
            2,
            "docpipe: expected a questions file or --schema, one of them\n",
        )
