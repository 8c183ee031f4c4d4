"""A preset is what a user could have typed: given flags win, a run records what came of it, and a change is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glimpseprune.rule import KeepRule
from jobs.cli.main import app
from jobs.model_choice import ModelChoice
from jobs.presets import PRESETS
from jobs.run.job import run_job
from jobs.run.prepare import answer_settings, reproduce_command
from jobs.run.ray_workers import ActorConfig
from jobs.settings import RunSettings, load_settings, questions_of
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.datasets.load import load_examples
from pipeline.errors import QuestionsError, SettingsChangedError
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.questions.question import CHOICE_PROMPT, DEFAULT_PROMPT
from pipeline.records import Ask
from pipeline.samples import Family
from pipeline.samples.write import write_samples
from tests.support.helpers import FakePageAnswerer
from tests.support.hostile import text_pdf
from tests.support.tiny_model import make_tiny_addon

QUESTIONS = """version: 1
questions:
- {id: plain, text: "Total?"}
- {id: own, text: "Total?", prompt: "{text} In one word.", max_new_tokens: 5}
- {id: choice, text: "Which?", type: choice, choices: [a, b]}
"""
PUBLISHED = PRESETS["published"]


@pytest.fixture
def flags(tmp_path: Path, tiny_base: Path) -> dict[str, Any]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pdf").write_bytes(text_pdf(1))
    (tmp_path / "q.yaml").write_text(QUESTIONS)
    named = {name: str(tmp_path / path) for name, path in {"questions": "q.yaml", "output": "out"}.items()}
    return {**named, "input": [str(tmp_path / "in")], "model": str(tiny_base), "engine": "local", "quiet": True}


def choose(given: dict[str, Any]) -> ModelChoice:
    return load_settings(None, given).choice


def test_the_flags_of_the_article(flags: dict[str, Any]) -> None:
    plain = choose(flags).model_dump()
    assert choose({**flags, "preset": "published"}).model_dump() == {
        **plain,
        "preset": "published",
        "max_visual_tokens": 2048,
        "repetition_penalty": 1.0,
        "prompt": "{text}",
        "max_new_tokens": 1024,
    }


def test_given_flags_and_the_file_win(flags: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('preset = "published"\nmax-new-tokens = 7\nrepetition-penalty = 1.3')
    found = load_settings(tmp_path / "run.toml", {**flags, "repetition_penalty": 1.1, "max_visual_tokens": 900}).choice
    assert (found.max_new_tokens, found.repetition_penalty, found.max_visual_tokens) == (7, 1.1, 900)
    assert found.prompt == PUBLISHED["prompt"]


def test_the_cap_holds_where_the_add_on_sets_none(flags: dict[str, Any], tmp_path: Path) -> None:
    def rule(**more: Any) -> KeepRule | None:
        return answer_settings(choose({**flags, **more}), 0).rule

    free = str(make_tiny_addon(tmp_path / "free", max_remain_ratio=None))
    capped = str(make_tiny_addon(tmp_path / "capped", max_remain_ratio=0.3))
    assert rule(glimpse=free) == KeepRule(max_ratio=None)
    assert rule(glimpse=free, preset="published") == KeepRule(max_ratio=0.111)
    assert rule(glimpse=free, preset="published", max_ratio=0.2) == KeepRule(max_ratio=0.2)
    assert rule(glimpse=capped, preset="published") == KeepRule(max_ratio=0.3)
    assert rule(glimpse=free, preset="published", prune="off") is None
    assert rule(preset="published") is None  # a preset asks for no pruning where there is no add-on


def test_questions_with_words_or_a_length_of_their_own_keep_them(flags: dict[str, Any]) -> None:
    def asked(**more: Any) -> list[tuple[str, int]]:
        return [(q.prompt, q.max_new_tokens) for q in questions_of(load_settings(None, {**flags, **more})).questions]

    assert asked() == [(DEFAULT_PROMPT, 64), ("{text} In one word.", 5), (CHOICE_PROMPT, 64)]
    assert asked(preset="published") == [("{text}", 1024), ("{text} In one word.", 5), (CHOICE_PROMPT, 1024)]
    assert asked(prompt="Read: {text}") == [("Read: {text}", 64), ("{text} In one word.", 5), (CHOICE_PROMPT, 64)]


def test_a_prompt_that_becomes_too_long_is_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(QuestionsError, match=r"question 'plain': .*expected at most 16,000 characters"):
        questions_of(load_settings(None, {**flags, "prompt": "{text}" + "x" * 16_000}))


def fake(config: ActorConfig) -> BundleAnswerer:
    folder = Folder(config.output)
    return BundleAnswerer(FakePageAnswerer(), OutputStore(folder, config.command), Markers(folder))  # type: ignore[arg-type]


def test_a_run_records_what_came_of_it_and_refuses_a_change(flags: dict[str, Any], tmp_path: Path) -> None:
    free = str(make_tiny_addon(tmp_path / "free", max_remain_ratio=None))

    def answer(**more: Any) -> RunSettings:
        settings = load_settings(None, {**flags, "glimpse": free, **more})
        assert run_job(settings, questions_of(settings), load=fake)["exit_code"] == 0
        return settings

    settings = answer(preset="published", max_visual_tokens=64)
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {name: recorded["settings"][name] for name in ("preset", *PUBLISHED)} == {
        "preset": "published",
        **PUBLISHED,
        "max_visual_tokens": 64,
    }
    assert recorded["answer_settings"]["rule"]["max_ratio"] == 0.111
    assert recorded["answer_settings"]["repetition_penalty"] == 1.0
    typed = {**PUBLISHED, "max_visual_tokens": 64, "max_ratio": 0.111}
    answer(**typed)  # the same, as a user could have typed it
    for other, said in (
        ({**typed, "max_ratio": None}, "--max-ratio"),
        ({**typed, "repetition_penalty": None}, "--repetition-penalty"),
        ({**typed, "max_visual_tokens": 100}, "--max-visual-tokens"),
        ({**typed, "prompt": "{text}?"}, "prompt"),
        ({**typed, "max_new_tokens": 9}, "max_new_tokens"),
    ):
        with pytest.raises(SettingsChangedError, match=said):
            answer(**other)
    command = reproduce_command(settings, questions_of(settings))
    assert (
        "--max-visual-tokens 64 --repetition-penalty 1.0 --prompt '{{text}}' --max-new-tokens 1024 --preset" in command
    )


@pytest.mark.parametrize("command", ["eval", "calibrate"])
def test_data_sets_are_asked_in_these_words(
    command: str, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Family(min_fields=3, max_fields=3, size_pt=(224.0, 224.0), table=0.0, free_text=0.0)
    write_samples(tmp_path / "data", [1], small, keys=("total",))
    seen: list[Ask] = []
    answer_page = PageAnswerer.answer_page

    def listening(self: PageAnswerer, page: Any, asks: list[Ask], *more: Any) -> list[ModelAnswer]:
        seen.extend(asks)
        return answer_page(self, page, asks, *more)

    monkeypatch.setattr(PageAnswerer, "answer_page", listening)
    words = [command, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "o"), "--model", str(tiny_base)]
    mode = ["--compare", "off"] if command == "eval" else []
    given = ["--preset", "published", "--max-new-tokens", "3", "--device", "cpu", "--quiet"]
    outcome = CliRunner().invoke(app, [*words, *mode, *given])
    if command == "eval":
        assert outcome.exit_code == 0, outcome.output
    else:
        assert "200" in outcome.output  # too few answers to fit
    assert seen
    assert {ask.max_new_tokens for ask in seen} == {3}
    assert {ask.prompt for ask in seen} == {example.question for example in load_examples(tmp_path / "data")}
