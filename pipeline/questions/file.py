"""Reads and validates the questions file; every error names file, line and field."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import fsspec
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import QuestionsError
from pipeline.questions.question import Aggregate, Glob, Keep, Pages, Prompt, Question, Strict

__all__ = ["Aggregate", "Question", "QuestionSet", "load_questions", "parse_questions"]

_Place = tuple[int | str, ...]  # keys and positions, from the top of the file downwards


class Defaults(Strict):
    """The values of fields that a question leaves out."""

    pages: Pages | None = None
    documents: Glob | None = None
    aggregate: Aggregate | None = None
    max_new_tokens: int | None = Field(default=None, ge=1, le=4096)
    prompt: Prompt | None = None
    keep: Keep | None = None


def _not_empty(questions: tuple[Question, ...]) -> tuple[Question, ...]:
    if not questions:
        raise ValueError("expected at least one question")
    return questions


class _File(Strict):
    version: Literal[1]
    defaults: Defaults = Defaults()
    questions: Annotated[tuple[Question, ...], AfterValidator(_not_empty)]


class QuestionSet(BaseModel):
    """All questions of a run, in the order of the file."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1]
    questions: tuple[Question, ...]


def load_questions(uri: str) -> QuestionSet:
    """Read a questions file from a path or an fsspec URI.

    Args:
        uri: path or URI of the YAML file.

    Raises:
        QuestionsError: the file cannot be read or is invalid.
    """
    try:
        with fsspec.open(uri, "rt", encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError, ImportError) as error:
        raise QuestionsError(f"{uri}: cannot be read: {error}") from error
    return parse_questions(text, uri)


def parse_questions(text: str, source: str) -> QuestionSet:
    """Read the text of a questions file.

    Args:
        text: content of the file, as YAML.
        source: name of the file, for messages.

    Raises:
        QuestionsError: the text is invalid; the message has a line ``source:line: field: reason`` per error.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise QuestionsError(f"{source}:{line}: file: not valid YAML: {getattr(error, 'problem', error)}") from error
    except ValueError as error:
        raise QuestionsError(
            f"{source}:1: file: expected valid dates and numbers: {error}; put it in quotes"
        ) from error
    twice = list(_keys_given_twice(node, (), set()))
    if twice:
        raise QuestionsError("\n".join(f"{source}:{line}: {field}: is given twice" for line, field in twice))
    if not isinstance(raw, dict):
        raise QuestionsError(
            f"{source}:1: file: expected a mapping with version and questions, found {type(raw).__name__}"
        )
    try:
        file = _File.model_validate(_with_defaults(raw))
    except ValidationError as error:
        errors = error.errors()
        # A wrong default fails again in each question that takes it; it is reported once.
        defaults = {e["loc"][1] for e in errors if e["loc"][0] == "defaults" and len(e["loc"]) > 1}
        told = [e for e in errors if e["loc"][0] != "questions" or not defaults.intersection(e["loc"][2:3])]
        problems = [f"{source}:{_line(node, e['loc'])}: {_field(e['loc'])}: {_reason(e)}" for e in told]
        raise QuestionsError("\n".join(problems)) from error
    seen: set[str] = set()
    for position, question in enumerate(file.questions):
        if question.id in seen:
            line = _line(node, ("questions", position, "id"))
            raise QuestionsError(f"{source}:{line}: questions.{position}.id: {question.id!r} is used twice")
        seen.add(question.id)
    return QuestionSet(version=1, questions=file.questions)


def _with_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """Merge defaults into each question, ``keep`` field by field, and turn lists into tuples."""
    defaults, questions = raw.get("defaults"), raw.get("questions")
    if not isinstance(questions, list):
        return raw
    known = {k: v for k, v in defaults.items() if k in Defaults.model_fields} if isinstance(defaults, Mapping) else {}
    merged = []
    for question in questions:
        if isinstance(question, Mapping):
            question = {**known, **question}
            if isinstance(known.get("keep"), Mapping) and isinstance(question["keep"], Mapping):
                question["keep"] = {**known["keep"], **question["keep"]}
            if isinstance(question.get("choices"), list):
                question["choices"] = tuple(question["choices"])
        merged.append(question)
    return {**raw, "questions": tuple(merged)}


def _line(node: yaml.Node | None, loc: _Place) -> int:
    """Return the 1-based line of a place in the file, or of its nearest parent that exists."""
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


def _keys_given_twice(node: yaml.Node | None, loc: _Place, visited: set[int]) -> Iterator[tuple[int, str]]:
    """Yield line and field of each repeated key, of which YAML would silently take the last."""
    if id(node) in visited:  # an alias, possibly of a node that contains it
        return
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            here = (*loc, str(name.value))
            if name.value in seen:
                yield name.start_mark.line + 1, _field(here)
            seen.add(name.value)
            yield from _keys_given_twice(value, here, visited)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield from _keys_given_twice(value, (*loc, position), visited)


def _field(loc: _Place) -> str:
    return ".".join(str(part) for part in loc) or "file"


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "is required"
    hint = "; put it in quotes" if error["type"] == "string_type" else ""
    return f"{error['msg'].removeprefix('Value error, ')}{hint} (found {reprlib.repr(error['input'])})"
