"""The questions file: YAML in, validated questions out; every refusal names file, line and field."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import fsspec
import yaml
from fsspec.utils import glob_translate
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from glimpseprune.rule import KeepRule
from pipeline.errors import QuestionsError
from pipeline.page_ranges import PageRanges
from pipeline.records import Ask

AnswerType = Literal["text", "integer", "number", "money", "date", "boolean", "choice"]
Aggregate = Literal["best", "first", "all", "vote", "sum"]
DEFAULT_PROMPT = "{text}\nAnswer with a single word or phrase. If the page does not say, answer n/a."
_SUMMABLE = ("integer", "number", "money")


def _valid_pages(text: str) -> str:
    PageRanges.parse(text)
    return text


def _valid_prompt(text: str) -> str:
    names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    if names.count("text") < 1 or set(names) - {"text", "choices"}:
        raise ValueError("expected {text} in it, optionally {choices}, and no other placeholder")
    return text


Pages = Annotated[str, AfterValidator(_valid_pages)]
Prompt = Annotated[str, AfterValidator(_valid_prompt)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Keep(_Strict):
    """Fields of the keep rule that a question overrides."""

    threshold: float | None = Field(default=None, ge=0, lt=1)
    max_ratio: float | None = Field(default=None, gt=0, le=1)
    min_tokens: int | None = Field(default=None, ge=0)


class Question(_Strict):
    """One question with all defaults applied."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    text: str = Field(min_length=1)
    type: AnswerType = "text"
    choices: tuple[str, ...] | None = None
    pages: Pages = "all"
    documents: str | None = None
    aggregate: Aggregate = "best"
    max_new_tokens: int = Field(default=64, ge=1, le=4096)
    prompt: Prompt = DEFAULT_PROMPT
    keep: Keep | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Question:
        if (self.type == "choice") != (self.choices is not None):
            raise ValueError("choices and type: choice belong together")
        if self.choices is not None and len(set(self.choices)) < 2:
            raise ValueError("choices needs at least two different values")
        if self.aggregate == "sum" and self.type not in _SUMMABLE:
            raise ValueError(f"aggregate: sum needs type {', '.join(_SUMMABLE)}, found {self.type}")
        return self

    @cached_property
    def page_ranges(self) -> PageRanges:
        """The pages this question is asked on."""
        return PageRanges.parse(self.pages)

    def applies_to(self, path: str) -> bool:
        """Whether a document, by its path below ``--input``, is asked this question."""
        return self.documents is None or re.fullmatch(glob_translate(self.documents), path) is not None

    def to_ask(self, default: KeepRule | None) -> Ask:
        """The question as it is put to the model; ``keep`` overrides fields of the run's rule, where it prunes."""
        rule = default
        if default is not None and self.keep is not None:
            given = self.keep.model_dump(exclude_none=True)
            fields = {"threshold": default.threshold, "max_ratio": default.max_ratio, "min_tokens": default.min_tokens}
            rule = KeepRule(**{**fields, **given})
        prompt = self.prompt.format(text=self.text, choices=", ".join(self.choices or ()))
        return Ask(self.id, prompt, self.type, self.max_new_tokens, rule)

    def identity(self) -> str:
        """Canonical JSON of everything an answer depends on; where and how it is aggregated are not part of it."""
        fields = self.model_dump(exclude={"pages", "documents", "aggregate"})
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))


class Defaults(_Strict):
    """What questions take that do not say otherwise."""

    pages: Pages | None = None
    documents: str | None = None
    aggregate: Aggregate | None = None
    max_new_tokens: int | None = Field(default=None, ge=1, le=4096)
    prompt: Prompt | None = None
    keep: Keep | None = None


class _File(_Strict):
    version: Literal[1]
    defaults: Defaults = Defaults()
    questions: Annotated[tuple[Question, ...], Field(min_length=1)]


class QuestionSet(BaseModel):
    """All questions of a run, in the order of the file."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1]
    questions: tuple[Question, ...]


def load_questions(uri: str) -> QuestionSet:
    """Read a questions file from a path or an fsspec URI.

    Raises:
        QuestionsError: it cannot be read, or something in it is wrong.
    """
    try:
        with fsspec.open(uri, "rt", encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError, ValueError, ImportError) as error:
        raise QuestionsError(f"{uri}: cannot be read: {error}") from error
    return parse_questions(text, uri)


def parse_questions(text: str, source: str) -> QuestionSet:
    """Read the text of a questions file.

    Raises:
        QuestionsError: one line for each thing that is wrong, as ``source:line: field: reason``.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise QuestionsError(f"{source}:{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(raw, dict):
        raise QuestionsError(f"{source}:1: expected a mapping with version and questions, found {type(raw).__name__}")
    try:
        file = _File.model_validate(_with_defaults(raw))
    except ValidationError as error:
        places = [e["loc"] for e in error.errors()]
        # A list whose items are refused is reported as too short as well.
        problems = [
            f"{source}:{_line(node, e['loc'])}: {_field(e['loc'])}: {_reason(e)}"
            for e in error.errors()
            if not any(place != e["loc"] and place[: len(e["loc"])] == e["loc"] for place in places)
        ]
        raise QuestionsError("\n".join(problems)) from error
    seen: set[str] = set()
    for position, question in enumerate(file.questions):
        if question.id in seen:
            line = _line(node, ("questions", position, "id"))
            raise QuestionsError(f"{source}:{line}: questions.{position}.id: {question.id!r} is used twice")
        seen.add(question.id)
    return QuestionSet(version=1, questions=file.questions)


def _with_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """Defaults merged into each question, and YAML lists as the tuples the models hold."""
    defaults, questions = raw.get("defaults"), raw.get("questions")
    known = {k: v for k, v in defaults.items() if k in Defaults.model_fields} if isinstance(defaults, Mapping) else {}
    if not isinstance(questions, list):
        return raw
    merged = []
    for question in questions:
        if isinstance(question, Mapping):
            question = {**known, **question}
            if isinstance(question.get("choices"), list):
                question["choices"] = tuple(question["choices"])
        merged.append(question)
    return {**raw, "questions": tuple(merged)}


def _line(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    """The 1-based line of a place in the file; of its nearest parent where it is not there."""
    line = 1
    for key in loc:
        child: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == key:
                    child, line = value, name.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            child = node.value[key]
            line = child.start_mark.line + 1
        if child is None:
            break
        node = child
    return line


def _field(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc) or "file"


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "is required"
    return f"{error['msg'].removeprefix('Value error, ')} (found {error['input']!r})"
