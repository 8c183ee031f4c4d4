"""The commands of docs/reproduce.md can be given as they stand, and what it says of the settings is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from jobs.cli.main import app
from jobs.commands.evaluate import EvalSettings, parse_modes
from jobs.presets import MAX_RATIOS, PRESETS
from jobs.settings import load_settings, validated
from pipeline.evaluation.score_table import write_rows
from tests.support.markdown import ROOT, blocks, commands
from tests.support.measured import measured

REPRODUCE = ROOT / "docs/reproduce.md"
DOCPIPE: Any = typer.main.get_command(app)


def given(words: list[str]) -> dict[str, Any]:
    """The flags of a command line, as its command gets them."""
    return dict(DOCPIPE.commands[words[0]].make_context("docpipe", words[1:]).params)


@pytest.mark.parametrize("words", commands(REPRODUCE, "docpipe"), ids=lambda words: " ".join(words[:3]))
def test_each_command_makes_settings(words: list[str]) -> None:
    flags = given(words)
    if words[0] == "run":
        assert load_settings(None, flags).choice.model == "Qwen/Qwen2.5-VL-7B-Instruct"
        return
    assert words[0] == "eval"
    known = {name: value for name, value in flags.items() if name not in ("compare", "by_question")}
    choice = validated(EvalSettings, {**known, "compare": parse_modes(flags["compare"])}).choice
    assert (choice.preset, choice.max_visual_tokens, choice.repetition_penalty) == ("published", 16384, 1.0)


def test_every_row_and_data_set_has_a_command() -> None:
    text, (loop,) = REPRODUCE.read_text(), re.findall(r"for set in ([a-z0-9 ]+); do", REPRODUCE.read_text())
    assert len({"docvqa", *loop.split()}) == 12
    section = text.split("## Answers")[1].split("## Efficiency")[0]
    rows = re.findall(r"^\| ([A-Z][\w+]+|unpruned)[ ,]", section, re.MULTILINE)
    assert rows == ["unpruned", "GlimpsePrune", "GlimpsePrune+", "PyramidDrop"]
    for row in rows:
        assert re.search(rf"^\*\*[^*]*{re.escape(row)}", section, re.MULTILINE | re.IGNORECASE), row
    evals = [given(words) for words in commands(REPRODUCE, "docpipe") if words[0] == "eval"]
    assert [flags["compare"] for flags in evals] == ["off,glimpse", "off,glimpse", "glimpse"]
    scripts = re.findall(r"`python (benchmarks/\w+\.py)", text)
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)


def test_the_settings_are_those_of_the_preset() -> None:
    told = dict(re.findall(r"^\| `--([a-z-]+)` \| ([^|]*?) \|", REPRODUCE.read_text(), re.MULTILINE))
    values = {name.replace("_", "-"): str(value) for name, value in PRESETS["published"].items()}
    assert told == {
        **values,
        "prompt": f"`{values['prompt']}`",
        "max-ratio": f"{MAX_RATIOS['published']}, where the add-on sets no cap",
    }


def test_answers_are_written_for_the_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [measured(mode="off", question="Who?", gold=("A", "B"), answer="It is A."), measured(mode="glimpse")]
    write_rows(rows, tmp_path / "docvqa.parquet")
    (code,) = blocks(REPRODUCE, "python")
    exec(compile(code, "reproduce.md", "exec"), {})
    (line,) = (tmp_path / "docvqa_off.jsonl").read_text().splitlines()
    assert json.loads(line) == {"conversations": [{"value": "Who?"}, {"value": "A"}], "response": "It is A."}
    assert len((tmp_path / "docvqa_glimpse.jsonl").read_text().splitlines()) == 1
