from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glimpseprune.errors import AddonError
from glimpseprune.rule import KeepRule
from jobs import exit_codes
from jobs.cli.main import app
from jobs.model_choice import ModelChoice
from jobs.run.prepare import answer_settings, frozen_settings, reproduce_command
from jobs.settings import RunSettings, load_settings
from pipeline.answering.checkpoints import resolve_model
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.errors import EngineError, ModelError, PageError, QuestionsError, SettingsChangedError, UsageError
from pipeline.questions.file import QuestionSet, parse_questions
from pipeline.records import AnswerSettings
from tests.support.all_read import ALL_READ
from tests.support.tiny_llava import make_tiny_llava

CLI = CliRunner()
NEEDED = ["--input", "in", "--questions", "q.yaml", "--output", "out"]

FLAGS: dict[str, tuple[list[str], Any]] = {
    "input": (["--input", "a", "--input", "b"], ("in", "a", "b")),
    "questions": (["--questions", "other.yaml"], "other.yaml"),
    "output": (["--output", "there"], "there"),
    "model": (["--model", "m"], "m"),
    "glimpse": (["--glimpse", "g"], "g"),
    "revision": (["--revision", "v1.0"], "v1.0"),
    "prune": (["--prune", "auto"], "auto"),
    "fallback": (["--fallback", "dense"], "dense"),
    "look_again": (["--look-again", "0.9"], 0.9),
    "drop_blank": (["--drop-blank"], True),
    "threshold": (["--threshold", "0.3"], 0.3),
    "max_ratio": (["--max-ratio", "0.2"], 0.2),
    "min_tokens": (["--min-tokens", "4"], 4),
    "dpi": (["--dpi", "144"], 144),
    "max_visual_tokens": (["--max-visual-tokens", "900"], 900),
    "engine": (["--engine", "ray"], "ray"),
    "actors": (["--actors", "3"], 3),
    "gpus_per_actor": (["--gpus-per-actor", "0.5"], 0.5),
    "address": (["--address", "http://head:8265"], "http://head:8265"),
    "detach": (["--address", "http://head:8265", "--detach"], True),
    "shared_fs": (["--address", "http://head:8265", "--shared-fs"], True),
    "wheel": (["--address", "http://head:8265", "--wheel", "d.whl[s3]"], "d.whl[s3]"),
    "limit": (["--limit", "7"], 7),
    "max_failed_share": (["--max-failed-share", "0.5"], 0.5),
    "deadline": (["--deadline", "90"], 90.0),
    "device": (["--device", "cpu"], "cpu"),
    "dtype": (["--dtype", "bfloat16"], "bfloat16"),
    "attn": (["--attn", "sdpa"], "sdpa"),
    "repetition_penalty": (["--repetition-penalty", "1.05"], 1.05),
    "prompt": (["--prompt", "{text} Briefly."], "{text} Briefly."),
    "max_new_tokens": (["--max-new-tokens", "5"], 5),
    "seed": (["--seed", "5"], 5),
    "log_format": (["--log-format", "json"], "json"),
    "quiet": (["--quiet"], True),
    "verbose": (["--verbose"], True),
    "document_seconds": (["--document-seconds", "120"], 120.0),
    "password_file": (["--password-file", "p.yaml"], "p.yaml"),
    "locale": (["--locale", "de_CH"], "de_CH"),
    "calibration": (["--calibration", "c.json"], "c.json"),
    "review_below": (["--review-below", "0.9"], 0.9),
    "skip_below": (["--skip-below", "0.05"], 0.05),
    "ocr": (["--ocr"], True),
    "reworded": (["--reworded"], True),
}


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """What a command line comes to, without running it."""
    (tmp_path / "q.yaml").write_text("version: 1\nquestions: [{id: a, text: b}]")
    (tmp_path / "other.yaml").write_text("version: 1\nquestions: [{id: a, text: b}]")
    monkeypatch.chdir(tmp_path)
    seen: list[RunSettings] = []

    def run_job(settings: RunSettings, _questions: object) -> dict[str, Any]:
        seen.append(settings)
        return {**EMPTY_REPORT, "exit_code": 0}

    monkeypatch.setattr("jobs.run.job.run_job", run_job)
    monkeypatch.setattr("jobs.cluster.submit.submit", lambda settings, *_: seen.append(settings) or "job")
    monkeypatch.setattr("jobs.cluster.submit.follow", lambda *_: 0)

    def call(*arguments: str) -> RunSettings:
        outcome = CLI.invoke(app, ["run", *NEEDED, *arguments])
        assert outcome.exit_code == 0, outcome.output
        return seen[-1]

    return call


EMPTY_REPORT: dict[str, Any] = {
    "run_id": "r",
    "wall_s": 0.0,
    "counts": dict.fromkeys(
        ("planned", "answered", "not_answerable", "skipped", "failed", "needs_review", "pending"), 0
    ),
    "model_note": None,
    "this_run": {"pages_per_s": None, "pages": 0, "bundles": 0},
    "totals": {
        "retention": None,
        "kv_bytes_full": None,
        "kv_bytes_kept": None,
        "asked_again": 0,
        "changed_again": 0,
        "looked_again": 0,
    },
    "documents": 0,
    "pages": 0,
    "interrupted": False,
    "settings": {"output": "out", "verbose": False},
    **ALL_READ,
    "failed_share": 0.0,
}


@pytest.mark.parametrize("name", FLAGS)
def test_each_flag_reaches_its_setting_and_no_other(settings_of: Any, name: str) -> None:
    arguments, value = FLAGS[name]
    needed = arguments[:2] if name in ("detach", "shared_fs", "wheel") else []
    plain, given = settings_of(*needed).flat(), settings_of(*arguments).flat()
    wanted = list(value) if isinstance(value, tuple) else value  # as JSON has it
    assert given[name] == wanted != plain[name]
    assert {key for key in plain if plain[key] != given[key]} == {name}


def test_there_is_no_flag_without_a_test() -> None:
    fields = {field.alias or name for name, field in RunSettings.model_fields.items()}
    elsewhere = {"schema", "preset"}  # the one takes the place of another flag, the other stands for several
    assert set(FLAGS) | elsewhere == (fields | set(ModelChoice.model_fields)) - {"choice"}


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_schema_takes_the_place_of_questions(
    monkeypatch: pytest.MonkeyPatch, settings_of: Any, tmp_path: Path, command: str
) -> None:
    seen: list[tuple[RunSettings, QuestionSet]] = []
    monkeypatch.setattr("jobs.run.job.run_job", lambda *given: seen.append(given) or {**EMPTY_REPORT, "exit_code": 0})
    monkeypatch.setattr("jobs.commands.forecast.forecast", lambda *given: seen.append(given) or "")
    schema = {"type": "object", "properties": {"Total": {"type": "number"}}}
    (tmp_path / "s.json").write_text(json.dumps(schema))
    outcome = CLI.invoke(app, [command, "--input", "in", "--schema", "s.json", "--output", "out"])
    assert outcome.exit_code == 0, outcome.output
    ((settings, asked),) = seen
    assert (settings.flat()["schema"], settings.flat()["questions"]) == ("s.json", None)
    assert [(q.id, q.type) for q in asked.questions] == [("total", "number")]
    assert settings.asked == ("--schema", "s.json")
    assert f"--schema {tmp_path}/s.json" in reproduce_command(settings, asked)
    (tmp_path / "run.toml").write_text('schema = "s.json"')
    outcome = CLI.invoke(app, [command, "--input", "in", "--output", "out", "--config", "run.toml"])
    assert (outcome.exit_code, seen[-1][0]) == (0, settings)
    travelled = RunSettings.model_validate(json.loads(json.dumps(settings.model_dump(mode="json"))))
    assert travelled == settings


def test_defaults() -> None:
    settings = load_settings(None, {"input": ["in"], "questions": "q", "output": "o"})
    assert (settings.choice.model, settings.choice.dpi, settings.max_failed_share, settings.seed) == (
        "nano",
        None,
        0.05,
        0,
    )


def test_flags_beat_the_file_and_the_file_beats_defaults(settings_of: Any, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'actors = "2-4"\ndeadline = 90\ndpi = 100\nmax-ratio = 0.5\nmax_visual_tokens = 50\ninput = "x"\nquiet = true'
    )
    settings = settings_of("--config", "run.toml", "--dpi", "120")
    choice = settings.choice
    assert (choice.dpi, choice.max_ratio, choice.max_visual_tokens, settings.quiet) == (120, 0.5, 50, True)
    assert (settings.input, str(settings.actors), settings.deadline) == (("in",), "2-4", 90.0)
    only_file = load_settings(tmp_path / "run.toml", {"questions": "q", "output": "o", "input": []})
    assert only_file.input == ("x",)


@pytest.mark.parametrize(
    ("toml", "arguments", "message"),
    [
        ("colour = 1", NEEDED, "unknown key 'colour'"),
        ("dpi = [", NEEDED, "--config"),
        (f"dpi = {'1' * 5000}", NEEDED, "--config"),
        ("dpi = 1", NEEDED, "--dpi: "),
        ("limit = true", NEEDED, "--limit: expected a whole number such as 16, without quotes, found true"),
        ('limit = "3"', NEEDED, "--limit: expected a whole number such as 16, without quotes, found '3'"),
        ("seed = true", NEEDED, "--seed: expected a whole number"),
        ("max-new-tokens = true", NEEDED, "--max-new-tokens: expected a whole number"),
        ('dpi = "144"', NEEDED, "--dpi: expected a whole number such as 16, without quotes, found '144'"),
        ("review-below = true", NEEDED, "--review-below: expected a number such as 0.5, without quotes, found true"),
        ("quiet = 1", NEEDED, "--quiet: expected true or false, without quotes, found 1"),
        ("model = 1", NEEDED, "--model: expected text in quotes, found 1"),
        ("actors = true", NEEDED, "--actors: expected a number of 1 or more, or a range such as 4-20, found True"),
        ("", NEEDED[2:], "--input is required"),
        ("", [*NEEDED[:2], *NEEDED[4:]], "--questions is required, or --schema in its place"),
        ("", [*NEEDED, "--schema", "s.json"], "--questions and --schema both say what is asked; give one of them"),
        ("", [*NEEDED[:2], *NEEDED[4:], "--schema", ""], "--schema is empty"),
        ("", [*NEEDED, "--max-ratio", "2"], "--max-ratio: "),
        ("", [*NEEDED, "--dtype", "int8"], "--dtype: "),
        ("", [*NEEDED, "--preset", "mine"], "--preset: "),
        ("preset = ['published']", NEEDED, "--preset: "),
        ("", [*NEEDED, "--prompt", "Well?"], "--prompt: expected {text} in it"),
        ("", [*NEEDED, "--max-new-tokens", "0"], "--max-new-tokens: "),
        ("", [*NEEDED, "--prune", "sometimes"], "--prune: "),
        ("", [*NEEDED, "--engine", "spark"], "--engine: "),
        ("", [*NEEDED, "--engine", "local", "--actors", "2"], "--engine local holds one model"),
        ("", [*NEEDED, "--engine", "local", "--address", "auto"], "--engine local runs in this process"),
        ("", [*NEEDED, "--shared-fs"], "--shared-fs has no effect without --address"),
        ("", [*NEEDED, "--wheel", "d.whl"], "--wheel has no effect without --address"),
        ("", [*NEEDED, "--limit", "0"], "--limit: "),
        ("", [*NEEDED, "--gpus-per-actor", "2"], "--gpus-per-actor: "),
    ],
)
def test_wrong_settings_end_with_code_2_and_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, toml: str, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(toml)
    outcome = CLI.invoke(app, ["run", *arguments, "--config", "run.toml"])
    assert outcome.exit_code == exit_codes.USAGE
    assert message in outcome.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (QuestionsError("x"), 2),
        (SettingsChangedError("x"), 2),
        (EngineError("x"), 3),
        (ModelError("x"), 3),
        (AddonError("x"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_one_exit_code_for_each_kind_of_error(
    monkeypatch: pytest.MonkeyPatch, settings_of: Any, error: BaseException, code: int
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr("jobs.run.job.run_job", failing)
    outcome = CLI.invoke(app, ["run", *NEEDED])
    assert outcome.exit_code == code
    assert outcome.output.strip() in ("docpipe: x", "interrupted")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, settings_of: Any) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("jobs.run.job.run_job", failing)
    assert isinstance(CLI.invoke(app, ["run", *NEEDED]).exception, ZeroDivisionError)
    with pytest.raises(TypeError, match="no exit code for PageError"):
        exit_codes.exit_code(PageError("open", "X", "y"))


@pytest.mark.parametrize("code", [0, 1, 130])
def test_the_exit_code_of_the_run_is_passed_on(monkeypatch: pytest.MonkeyPatch, settings_of: Any, code: int) -> None:
    monkeypatch.setattr("jobs.run.job.run_job", lambda *_: {**EMPTY_REPORT, "exit_code": code})
    assert CLI.invoke(app, ["run", *NEEDED]).exit_code == code


def make(base: Path, **flags: Any) -> RunSettings:
    return RunSettings(input=("in",), questions="q", output="o", model=str(base), **flags)


def choose(run: RunSettings) -> AnswerSettings:
    return answer_settings(run.choice, run.seed)


def test_which_rule_a_run_uses(tiny_base: Path, tiny_addon: Path) -> None:
    addon = str(tiny_addon)
    assert choose(make(tiny_base)).rule is None
    assert choose(make(tiny_base, glimpse=addon)).rule == KeepRule(0.5, 0.111, 1)
    changed = choose(make(tiny_base, glimpse=addon, threshold=0.7, max_ratio=0.3, min_tokens=9))
    assert changed.rule == KeepRule(0.7, 0.3, 9)
    off = choose(make(tiny_base, glimpse=addon, prune="off"))
    assert (off.rule, off.glimpse, off.glimpse_fingerprint) == (None, None, None)
    for prune in ("glimpse", "auto"):
        with pytest.raises(UsageError, match=f"--prune {prune} needs an add-on"):
            choose(make(tiny_base, prune=prune))
    with pytest.raises(UsageError, match="--max-ratio has no effect"):
        choose(make(tiny_base, max_ratio=0.1))


def test_a_fallback_needs_pruning(tiny_base: Path, tiny_addon: Path) -> None:
    addon = str(tiny_addon)
    found = choose(make(tiny_base, glimpse=addon, fallback="dense"))
    assert found.fallback
    assert found != choose(make(tiny_base, glimpse=addon))
    with pytest.raises(UsageError, match="--fallback dense has no effect without pruning"):
        choose(make(tiny_base, glimpse=addon, fallback="dense", prune="off"))
    with pytest.raises(UsageError, match="--fallback dense needs an add-on"):
        choose(make(tiny_base, fallback="dense"))


def test_a_look_again_needs_pages_of_another_size(tiny_base: Path, tmp_path: Path) -> None:
    assert choose(make(tiny_base)).look_again == 0
    found = choose(make(tiny_base, look_again=0.9))
    assert found.look_again == 0.9
    assert found != choose(make(tiny_base))
    fixed = make_tiny_llava(tmp_path / "fixed")
    assert choose(make(fixed)).look_again == 0
    with pytest.raises(UsageError, match="--look-again 0.9 needs pages at another size"):
        choose(make(fixed, look_again=0.9))


def test_pruning_where_it_is_cheaper_is_a_setting_of_its_own(tiny_base: Path, tiny_addon: Path) -> None:
    found = {
        prune: choose(make(tiny_base, glimpse=str(tiny_addon), prune=prune)) for prune in ("off", "glimpse", "auto")
    }
    assert {prune: settings.prune_auto for prune, settings in found.items()} == {
        "off": False,
        "glimpse": False,
        "auto": True,
    }
    assert found["auto"] == dataclasses.replace(found["glimpse"], prune_auto=True)
    asked = parse_questions('version: 1\nquestions: [{id: a, text: "A?"}]', "q.yaml")
    assert {prune: frozen_settings(settings, asked)["--prune"] for prune, settings in found.items()} == {
        prune: prune for prune in found
    }


def test_the_command_that_reproduces_a_failure(tiny_base: Path) -> None:
    run = make(tiny_base, dpi=100, max_ratio=0.5, device="cpu", seed=3, actors=7)
    asked = parse_questions("version: 1\nquestions: [{id: a, text: A}]", "q")

    def command(run: RunSettings, questions: QuestionSet = asked, document: str = "0123456789abcdef") -> str:
        return reproduce_command(run, questions).format(input="'a b.pdf'", document_id=document)

    words, _, output = command(run).rpartition(" ")
    assert words == (
        f"docpipe run --input 'a b.pdf' --questions q --model {tiny_base} --max-ratio 0.5 --dpi 100 --device cpu "
        "--seed 3 --output"
    )
    assert re.fullmatch(r"reproduced-01234567-[0-9a-f]{8}", output)
    assert command(run) == command(run.model_copy(update={"actors": 2}))
    others = [
        command(make(tiny_base, dpi=120, max_ratio=0.5, device="cpu", seed=3)),
        command(run, parse_questions("version: 1\nquestions: [{id: a, text: B}]", "q")),
        command(run, document="f123456789abcdef"),
    ]
    assert len({output, *(other.rpartition(" ")[2] for other in others)}) == 4


def test_a_choice_writes_the_flags_that_make_it(settings_of: Any) -> None:
    choice = ModelChoice(model="a b", drop_blank=True, max_ratio=0.2, prune="auto")
    assert choice.flags() == ["--model", "a b", "--prune", "auto", "--max-ratio", "0.2", "--drop-blank"]
    assert ModelChoice(drop_blank=False).flags() == ["--no-drop-blank"]
    assert settings_of(*choice.flags()).choice == choice
    assert ModelChoice().flags() == []


@pytest.mark.parametrize("command", ["eval", "demo", "plan", "run"])
def test_the_bounds_of_the_model_hold_in_every_command(command: str, tmp_path: Path) -> None:
    needed = {"eval": ["--data", "d", "--out", "o"], "demo": ["--out", str(tmp_path)]}.get(command, NEEDED)
    wrong = {"--max-ratio": "2", "--threshold": "1", "--dpi": "5", "--attn": "eager", "--repetition-penalty": "0"}
    for flag, value in wrong.items():
        outcome = CLI.invoke(app, [command, *needed, flag, value])
        assert outcome.exit_code == 2
        assert outcome.output.startswith(f"docpipe: {flag}: ")
        assert len(outcome.output.splitlines()) == 1


def test_a_revision_is_for_the_hub(tiny_base: Path) -> None:
    for model in ("nano", str(tiny_base)):
        with pytest.raises(UsageError, match="--revision v1 has no effect"):
            resolve_model(model, "v1")


def test_a_revision_reaches_the_hub(monkeypatch: pytest.MonkeyPatch, tiny_base: Path) -> None:
    seen: list[dict[str, Any]] = []

    def download(name: str, **given: Any) -> str:
        seen.append({"name": name, **given})
        return str(tiny_base)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("pipeline.answering.loading.snapshot_download", download)
    PageAnswerer.load("org/model", None, "cpu", "auto", "auto", 0, "v1")
    assert [(one["name"], one["revision"]) for one in seen] == [("org/model", "v1")] * 2
