"""The documents say what is so: their commands run, their links lead somewhere, their tables are whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
import pytest
import torch
import typer
from typer.testing import CliRunner

import glimpseprune as gp
from jobs import exit_codes
from jobs.cli.main import app
from pipeline.output import schema
from pipeline.output.export.columns import sheet_columns
from pipeline.output.export.registry import formats
from pipeline.questions.file import Defaults, parse_questions
from pipeline.questions.question import Question
from pipeline.records import STATUSES
from tests.support.batches import item
from tests.support.markdown import ROOT, anchors, blocks, commands, documents, first_cells, links, options

README, QUESTIONS, OUTPUT = ROOT / "README.md", ROOT / "docs/questions.md", ROOT / "docs/output.md"
_MEASURED = ("docs/throughput.md", "docs/quality.md", "pipeline/nano/CARD.md")
MEASURED = ("docs/throughput.md", "docs/ablation.md")  # their options are those of scripts in benchmarks/
DOCPIPE: Any = typer.main.get_command(app)
ELSEWHERE = re.compile(r"Qwen/|https?://|s3://")  # needs a hub, a cluster or a bucket


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def parse(words: list[str]) -> None:
    """Parse a command line as ``docpipe`` would, and run nothing."""
    command, rest = DOCPIPE, words
    while isinstance(command, click.Group | typer.core.TyperGroup):
        name, rest = rest[0], rest[1:]
        assert name in command.commands, f"there is no command {name!r} in: docpipe {' '.join(words)}"
        command = command.commands[name]
    command.make_context("docpipe", list(rest))


def all_options(command: Any) -> set[str]:
    """Every long option of a command and the commands below it."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(all_options(below) for below in getattr(command, "commands", {}).values()))


def test_every_threat_names_tests_that_are_there() -> None:
    text = (ROOT / "docs/security.md").read_text()
    rows = text.partition("## Threats")[2].partition("## The renderer")[0].splitlines()
    threats = [row.split("|") for row in rows if row.startswith("| ")][2:]
    assert len(threats) > 15
    for _, threat, _, proofs, _ in threats:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", proofs)
        assert named, threat
        for file, test in named:
            assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE), test


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_commands_and_options_exist(document: Path) -> None:
    for words in commands(document, "docpipe"):
        parse(words)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {words[0] for words in commands(document, "make")} <= targets
    if name_of(document) not in MEASURED:
        assert options(document) - all_options(DOCPIPE) == set()


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(Exception, match="No such option: --no-such-thing"):
        parse(["run", "--no-such-thing", "3"])
    with pytest.raises(AssertionError, match="no command 'walk'"):
        parse(["walk"])


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in links(document):
        assert target.exists(), f"{name_of(document)} links to {target}"
        assert not anchor or anchor in anchors(target), f"{name_of(document)} links to #{anchor} in {target.name}"


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


def test_readme_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs no hub and no cluster, one after the other in one folder, as a reader would."""
    monkeypatch.chdir(tmp_path)
    (yaml,) = blocks(README, "yaml")
    (tmp_path / "q.yaml").write_text(yaml, encoding="utf-8")
    here = [words for words in commands(README, "docpipe") if not ELSEWHERE.search(" ".join(words))]
    assert [words[0] for words in here] == ["samples", "run", "report", "questions", "doctor"]
    for words in here:
        engine = ["--engine", "local"] if words[0] == "run" else []  # one small page is not worth starting Ray
        result = CliRunner().invoke(app, [*words, *engine])
        assert result.exit_code == 0, f"docpipe {' '.join(words)}: {result.output}"
    rows = pq.read_table(tmp_path / "samples/answers/answers").to_pylist()
    assert {row["page"] for row in rows} == {1}
    assert sum(row["status"] == "answered" for row in rows) > len(rows) / 2


def test_readme_row_has_columns_of_the_table() -> None:
    (text,) = blocks(README, "json")
    assert set(re.findall(r'"(\w+)":', text)) <= {*schema.ANSWERS.names, "x0", "y0", "x1", "y1", "score"}


def test_readme_figures_are_measured_ones() -> None:
    results = README.read_text(encoding="utf-8").split("## Results")[1].split("## ")[0]
    sources = "".join((ROOT / name).read_text() for name in _MEASURED)
    figures = re.findall(r"\d*\.\d+", results)
    assert len(figures) >= 8
    assert [figure for figure in figures if figure not in sources] == []


def test_readme_python_runs(tiny_base: Path, tiny_addon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small model instead of the one it names, and inputs as the processor makes them."""
    (text,) = blocks(README, "python")
    load = gp.load
    monkeypatch.setattr(gp, "load", lambda model, glimpse: load(tiny_base, glimpse=tiny_addon, device="cpu"))
    page = item([(4, 6)], 0, 0)
    questions = [torch.tensor([11, 12, 13]), torch.tensor([21])]
    names = {"inputs": item([(4, 6)], 2, 5), "prefix_ids": page["input_ids"][0], "pixels": page["pixel_values"]}
    found: dict[str, Any] = {**names, "grid": (8, 12), "questions": questions}
    exec(compile(text, "README.md", "exec"), found)
    assert [len(answer.tokens) > 0 for answer in found["answers"]] == [True, True]
    assert found["answers"][0].stats.retention < 1
    assert found["out"].stats[0].retention < 1


def test_questions_page_shows_files_that_are_right_and_what_the_check_says_of_wrong_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *right, wrong = blocks(QUESTIONS, "yaml")
    assert all(parse_questions(text, "q.yaml").questions for text in right)
    monkeypatch.chdir(tmp_path)
    riddle = "version: 1\nquestions:\n- {id: a, text: What?}\n"
    for text, said in zip((wrong, riddle), blocks(QUESTIONS, "text"), strict=True):
        Path("q.yaml").write_text(text, encoding="utf-8")
        checked = CliRunner().invoke(app, ["questions", "check", "q.yaml"])
        assert (checked.exit_code, checked.stderr) == (2, said)


def test_questions_page_names_every_field() -> None:
    assert first_cells(QUESTIONS, "Fields of a question") == list(Question.model_fields)
    row = next(line for line in QUESTIONS.read_text(encoding="utf-8").splitlines() if line.startswith("| `defaults`"))
    assert set(Defaults.model_fields) <= set(re.findall(r"`(\w+)`", row))


@pytest.mark.parametrize(
    ("table", "columns"),
    [("answers/", schema.ANSWERS), ("pages/", schema.PAGES), ("documents/", schema.DOCUMENTS)]
    + [("failures/", schema.FAILURES), ("reviews/", schema.REVIEWS)],
)
def test_output_page_names_every_column(table: str, columns: Any) -> None:
    assert sorted(first_cells(OUTPUT, table)) == sorted(columns.names)


def test_exports_page_names_every_format_and_column() -> None:
    named = first_cells(ROOT / "docs/exports.md", "Formats")
    columns = [column.name for column in sheet_columns("documents")]
    of_text = ["evidence_text", "on_page"]  # which have values where pages have a text layer
    assert sorted(named[1 : 1 + len(formats())]) == formats()
    assert [name for name in named if name in columns or name in of_text] == [
        *columns[: columns.index("confidence") + 1],
        *of_text,
        *columns[columns.index("box") :],
    ]


def test_output_page_names_every_status_exit_code_and_schema_version() -> None:
    text = OUTPUT.read_text(encoding="utf-8")
    assert sorted(first_cells(OUTPUT, "Statuses")) == sorted(STATUSES)
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    told = text.split("## Exit codes")[1].split("## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", told, re.MULTILINE)} == codes
    versions = re.findall(r"^\| (\d+) \|", text.split("## Schema versions")[1], re.MULTILINE)
    assert versions == [str(number) for number in range(schema.SCHEMA_VERSION, 0, -1)]


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_files_that_are_named_exist(document: Path) -> None:
    """Paths in the text, from the root of the project; ``<name>`` stands for one that is still to be chosen."""
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:glimpseprune|pipeline|jobs|tests|benchmarks|docs|examples)/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
