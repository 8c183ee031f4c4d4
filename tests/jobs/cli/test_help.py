from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import click
import pytest
import typer
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.cli.options import REQUIRED
from jobs.settings import RunSettings

TOP: Any = typer.main.get_command(app)


def commands(command: Any = TOP, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by the words that call it."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command
        return
    for name, one in below.items():
        yield from commands(one, (*words, name))


ALL = dict(commands())


def options(command: Any) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == "option"]


def test_point_19_version() -> None:
    outcome = CliRunner().invoke(app, ["--version"])
    assert (outcome.exit_code, outcome.output) == (0, f"docpipe {version('glimpse-docpipe')}\n")


@pytest.mark.parametrize("name", ALL)
def test_point_19_each_command_has_an_example_that_parses(name: str) -> None:
    words = shlex.split(re.fullmatch(r"Example: docpipe (.+)", ALL[name].epilog)[1])  # type: ignore[index]
    command, rest = TOP, words
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    assert command is ALL[name]
    command.make_context("docpipe", list(rest))
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"}).output
    assert f"Example: docpipe {shlex.join(words)}" in shown


@pytest.mark.parametrize("name", ALL)
def test_point_19_options_are_in_groups(name: str) -> None:
    many = options(ALL[name])
    groups = {option.rich_help_panel for option in many}
    assert None not in groups or len(many) < 3
    assert len(groups) >= 2 or len(many) < 5


@pytest.mark.parametrize("name", ALL)
def test_point_19_what_is_required_and_what_holds_otherwise_is_shown(name: str) -> None:
    for option in options(ALL[name]):
        says = isinstance(option.show_default, str) or (option.show_default and option.default is not None)
        needed = option.required or option.rich_help_panel == REQUIRED
        assert bool(says) != needed or option.is_flag, f"{name} {option.opts[0]}"
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"}).output
    defaults = [option for option in options(ALL[name]) if not option.required and option.rich_help_panel != REQUIRED]
    assert shown.count("[default: ") >= len([option for option in defaults if option.opts != ["--help"]])


def test_numbers_in_the_help_are_those_of_the_settings() -> None:
    plain = RunSettings(input=("in",), questions="q", output="out").flat()
    said = {option.name: option.show_default for option in options(ALL["run"])}
    numbers = {name: float(words) for name, words in said.items() if re.fullmatch(r"[0-9.]+", str(words))}
    assert {"document_seconds", "max_failed_share", "seed"} <= numbers.keys()
    assert {name: plain[name] for name in numbers} == numbers


def test_what_stands_in_brackets_is_shown() -> None:
    marked = re.compile(r"(?<!\\)\[[a-zA-Z/#@]")  # which Rich takes for a style, and eats
    for name, command in ALL.items():
        for text in (command.help, command.epilog, *(option.help for option in options(command))):
            assert not marked.search(text or ""), f"{name}: {text}"
    shown = {
        name: CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output for name in ("run", "nightly")
    }
    assert "as dist/x.whl[s3]." in shown["run"]
    assert "thresholds in [nightly]." in shown["nightly"]


def test_plan_takes_the_options_of_run() -> None:
    told = [[(option.name, option.opts, option.help) for option in options(ALL[name])] for name in ("run", "plan")]
    assert told[0] == told[1]


def test_run_marks_what_it_cannot_do_without() -> None:
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
    panel = shown.split(REQUIRED)[1].split("╰")[0]
    assert set(re.findall(r"--[a-z-]+", panel)) == {"--input", "--questions", "--schema", "--output"}
    assert click.unstyle(CliRunner().invoke(app, ["samples", "--help"]).output).count("[required]") == 1
