"""Defines the settings of a run: flags override a TOML file, which overrides the defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from jobs.actor_range import Actors
from jobs.log import LogFormat
from jobs.model_choice import ModelChoice, Seed, gather_choice
from pipeline.errors import UsageError
from pipeline.output.drift import Thresholds
from pipeline.pages.limits import DOCUMENT_SECONDS
from pipeline.questions.file import QuestionSet, load_questions
from pipeline.questions.question import LocaleName

Settings = TypeVar("Settings")
_EXPECTED = {
    "int_type": "expected a whole number such as 16, without quotes",
    "float_type": "expected a number such as 0.5, without quotes",
    "bool_type": "expected true or false, without quotes",
    "string_type": "expected text in quotes",
    "tuple_type": "expected a text in quotes, or a list of texts",
    "extra_forbidden": "unknown key",
}


class RunSettings(BaseModel):
    """All settings of ``docpipe run``; field names are the flags with underscores.

    The flags of the model may be given flat; ``choice`` holds them. ``schema`` is a name that pydantic has taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, serialize_by_alias=True)

    input: tuple[str, ...] = Field(min_length=1, strict=False)  # TOML and JSON have lists only
    questions: str | None = None
    schema_: str | None = Field(default=None, alias="schema", validate_default=True)
    output: str
    choice: ModelChoice = ModelChoice()
    engine: Literal["auto", "ray", "local"] = "auto"
    actors: Actors | None = None
    gpus_per_actor: float | None = Field(default=None, gt=0, le=1)
    address: str | None = None
    detach: bool = False
    shared_fs: bool = False
    wheel: str | None = None
    limit: int | None = Field(default=None, ge=1)
    max_failed_share: float = Field(default=0.05, ge=0, le=1)
    deadline: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    document_seconds: float = Field(default=DOCUMENT_SECONDS, gt=0, allow_inf_nan=False)
    password_file: str | None = None
    locale: LocaleName | None = None
    calibration: str | None = None
    review_below: float | None = Field(default=None, ge=0, le=1)
    skip_below: float | None = Field(default=None, ge=0, le=1)
    ocr: bool = False
    reworded: bool = False
    seed: Seed = 0
    log_format: LogFormat = "text"
    quiet: bool = False
    verbose: bool = False

    gather = model_validator(mode="before")(gather_choice)

    @field_validator("schema_")
    @classmethod
    def _one_says_what_is_asked(cls, schema: str | None, info: ValidationInfo) -> str | None:
        questions = info.data.get("questions")
        if questions is None and schema is None:
            raise ValueError("--questions is required, or --schema in its place")
        if questions is not None and schema is not None:
            raise ValueError("--questions and --schema both say what is asked; give one of them")
        return schema

    @model_validator(mode="after")
    def _engine_can_do_it(self) -> RunSettings:
        if self.engine == "local" and self.address is not None:
            raise ValueError("--engine local runs in this process; leave --address out")
        if self.engine == "local" and self.actors not in (None, 1):
            raise ValueError(f"--engine local holds one model; leave --actors {self.actors} out, or take --engine ray")
        if self.detach and self.address is None:
            raise ValueError("--detach has no effect without --address; name the cluster, or leave it out")
        if self.shared_fs and self.address is None:
            raise ValueError("--shared-fs has no effect without --address; name the cluster, or leave it out")
        if self.wheel is not None and self.address is None:
            raise ValueError("--wheel has no effect without --address; name the cluster, or leave it out")
        return self

    @model_validator(mode="after")
    def _names_are_given(self) -> RunSettings:
        given = {
            "input": self.input,
            "questions": (self.questions,),
            "schema": (self.schema_,),
            "output": (self.output,),
        }
        for flag, names in given.items():
            if "" in names:
                raise ValueError(f"--{flag} is empty, as a variable of the shell may be; name a path or URI")
        return self

    @property
    def asked(self) -> tuple[str, str]:
        """Return the flag that says what is asked, and its value."""
        return ("--questions", self.questions) if self.questions is not None else ("--schema", str(self.schema_))

    def flat(self) -> dict[str, Any]:
        """Return all settings under the names of their flags."""
        return {**self.model_dump(mode="json", exclude={"choice"}), **self.choice.model_dump(mode="json")}


def load_settings(config: Path | None, flags: Mapping[str, Any]) -> RunSettings:
    """Merge flags over a TOML file, whose table ``[nightly]`` is left aside.

    Args:
        config: TOML file with the keys of :class:`RunSettings`, in dashes or underscores; ``None`` takes flags alone.
        flags: values by field name; ``None`` and empty lists stand for flags that were not given.

    Raises:
        UsageError: the file cannot be read, a key is unknown, or a value is out of range.
    """
    merged = {} if config is None else _read_config(config)[0]
    merged.update({key: value for key, value in flags.items() if value is not None and value != []})
    return validated(RunSettings, merged)


def load_night(config: Path) -> tuple[RunSettings, Thresholds]:
    """Read a TOML file with the keys of :class:`RunSettings` and a table ``[nightly]``, once, since it may be a pipe.

    Args:
        config: the file.

    Raises:
        UsageError: the file cannot be read, a key is unknown, or a value is out of range.
    """
    given, nightly = _read_config(config)
    thresholds = _thresholds(config, nightly)
    return validated(RunSettings, given), thresholds


def _thresholds(config: Path, given: object) -> Thresholds:
    if not isinstance(given, dict):
        raise UsageError(
            f"--config {config}: nightly: expected a table, the line [nightly] with thresholds such as failed = 0.02 "
            f"below it, found {_shown(given)}"
        )
    try:
        return Thresholds.model_validate(given)
    except ValidationError as error:
        told = (f"{'.'.join(map(str, e['loc']))}: {_reason(e)}" for e in error.errors())
        raise UsageError(f"--config {config}: [nightly] {'; '.join(told)}") from error


def _read_config(config: Path) -> tuple[dict[str, Any], Any]:
    """Return the settings of a run in a TOML file, and its table ``[nightly]``."""
    try:
        raw = tomllib.loads(config.read_text(encoding="utf-8"))
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # what is no TOML among them
        raise UsageError(f"--config {config}: {error}") from error
    nightly = raw.pop("nightly", {})
    if isinstance(nightly, dict):
        nightly = {key.replace("-", "_"): value for key, value in nightly.items()}
    settings = {key.replace("-", "_"): value for key, value in raw.items()}
    if isinstance(settings.get("input"), str):
        settings["input"] = [settings["input"]]
    return settings, nightly


def load_asked(questions: str | None, schema: str | None) -> QuestionSet:
    """Read the questions of a questions file or of a schema, of which one is given.

    Args:
        questions: path or URI of a questions file.
        schema: path or URI of a JSON Schema, or a pydantic model as ``module:Model``.

    Raises:
        QuestionsError: the file or the schema is invalid.
    """
    if questions is not None:
        return load_questions(questions)
    from pipeline.questions.schema import load_schema  # which takes a while

    return load_schema(str(schema))


def questions_of(run: RunSettings) -> QuestionSet:
    """Read the questions of a run, with its prompt and length for questions that set none.

    Args:
        run: settings of the run.

    Raises:
        QuestionsError: the file or the schema is invalid, or a question cannot take the prompt.
    """
    given = {"prompt": run.choice.prompt, "max_new_tokens": run.choice.max_new_tokens}
    asked = load_asked(run.questions, run.schema_)
    return asked.with_defaults({name: value for name, value in given.items() if value is not None})


def validated(settings: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Make settings from flags or the keys of a file.

    Args:
        settings: class of the settings, a pydantic model.
        given: values by field name; ``None`` stands for a flag that was not given.

    Raises:
        UsageError: a value is out of range.
    """
    try:
        return settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise UsageError("; ".join(problem(e) for e in error.errors())) from error


def problem(error: Any) -> str:
    """Describe one entry of a validation error by its flag.

    Args:
        error: entry of ``ValidationError.errors()``.
    """
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    name = str(error["loc"][-1] if error["loc"][0] == "choice" else error["loc"][0])
    flag = "--" + name.replace("_", "-")
    if error["type"] == "missing":
        return f"{flag} is required"
    if error["type"] == "extra_forbidden":
        return f"unknown key {name!r} in the configuration file"
    return f"{flag}: {_reason(error)}"


def _reason(error: Any) -> str:
    return f"{_EXPECTED.get(error['type'], error['msg'])}, found {_shown(error['input'])}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)  # as TOML writes it
