"""Reads and validates the questions file; every error names file, line and field."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.errors import QuestionsError
from pipeline.questions.question import (
    MOST_NEW_TOKENS,
    Aggregate,
    Globs,
    Keep,
    LocaleName,
    Pages,
    Prompt,
    Question,
    Share,
    Strict,
    Whole,
    as_number,
)
from pipeline.questions.text_file import read_text
from pipeline.questions.yaml_text import YamlText, joined, read_yaml
from pipeline.questions.yaml_tree import QUOTES, Plain

__all__ = ["Aggregate", "Place", "Question", "QuestionSet", "load_questions", "parse_questions"]

_COMMA = "text with a comma in it needs quotes between { and }"
_EXPECTED = {
    "tuple_type": "expected a list: one line per entry, each with a dash and a space in front",
    "model_type": "expected a mapping: one line per field, with its name, a colon and its value",
}
_HINTS = {
    "string_type": "; put it in quotes",
    "bool_type": "; write true or false, without quotes",
    "int_type": "; write a whole number such as 16, without quotes",
    "float_type": "; write a number such as 0.5, without quotes",
}


class Defaults(Strict):
    """The values of fields that a question leaves out."""

    pages: Pages | None = None
    documents: Globs | None = None
    aggregate: Aggregate | None = None
    locale: LocaleName | None = None
    max_new_tokens: Whole | None = Field(default=None, ge=1, le=MOST_NEW_TOKENS)
    prompt: Prompt | None = None
    keep: Keep | None = None
    review_below: Share | None = None


def _as_version(value: object) -> object:
    """Turn ``1`` into a number; ``1.0``, which equals it, stays text."""
    if isinstance(value, str) and not isinstance(value, Plain):
        raise ValueError("is a text, and the number 1 is expected; take the quotes away")
    number = as_number(value)
    return value if isinstance(number, float) else number


def _not_empty(questions: tuple[Question, ...]) -> tuple[Question, ...]:
    if not questions:
        raise ValueError("expected at least one question")
    return questions


class _File(Strict):
    version: Annotated[Literal[1], BeforeValidator(_as_version)]
    defaults: Defaults = Defaults()
    questions: Annotated[tuple[Question, ...], AfterValidator(_not_empty)]


class Place(BaseModel):
    """The place in a record that a question fills.

    Attributes:
        path: names of the objects around the property, and its own.
        kind: type that the property has in JSON, such as ``number``.
        items: of an ``array``, the type of its entries.
    """

    model_config = ConfigDict(frozen=True)

    path: tuple[str, ...]
    kind: str
    items: str | None = None


class QuestionSet(BaseModel):
    """All questions of a run, in the order of the file.

    Attributes:
        version: version of the format.
        questions: the questions.
        places: where the values of a record stand, by question id; empty where no schema says so.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1]
    questions: tuple[Question, ...]
    places: Mapping[str, Place] = {}

    def with_defaults(self, given: Mapping[str, Any]) -> QuestionSet:
        """Return the questions with values for fields that their file leaves out.

        Args:
            given: values by field of a question.

        Raises:
            QuestionsError: a question cannot take them.
        """
        questions = []
        for question in self.questions:
            own = {name: getattr(question, name) for name in question.model_fields_set}
            try:
                questions.append(Question.model_validate({**given, **own}))
            except ValidationError as error:
                raise QuestionsError(f"question {question.id!r}: {reason_of(error.errors()[0])}") from error
        return self.model_copy(update={"questions": tuple(questions)})


def load_questions(uri: str) -> QuestionSet:
    """Read a questions file from a path or an fsspec URI.

    Args:
        uri: path or URI of the YAML file.

    Raises:
        QuestionsError: the file cannot be read or is invalid.
    """
    return parse_questions(read_text(uri, "a YAML file with questions"), uri)


def parse_questions(text: str, source: str) -> QuestionSet:
    """Read the text of a questions file.

    Args:
        text: content of the file, as YAML.
        source: name of the file, for messages.

    Raises:
        QuestionsError: the text is invalid; the message has a line ``source:line: field: reason`` per error.
    """
    content = read_yaml(text, source)
    if not isinstance(content.value, dict):
        found = "nothing" if content.value is None else "a list" if isinstance(content.value, list) else "text"
        raise QuestionsError(content.problem((), f"expected a mapping with version and questions, found {found}"))
    try:
        file = _File.model_validate(_with_defaults(content.value))
    except ValidationError as error:
        errors = error.errors()
        # A wrong default fails again in each question that takes it; it is reported once.
        defaults = {e["loc"][1] for e in errors if e["loc"][0] == "defaults" and len(e["loc"]) > 1}
        told = [e for e in errors if e["loc"][0] != "questions" or not defaults.intersection(e["loc"][2:3])]
        raise QuestionsError(joined(content.problem(e["loc"], reason_of(e)) for e in told)) from error
    ids = [question.id for question in file.questions]
    if len(set(ids)) < len(ids):
        raise QuestionsError(joined(_used_again(content, ids)))
    return QuestionSet(version=1, questions=file.questions)


def _used_again(content: YamlText, ids: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for position, name in enumerate(ids):
        if name in seen:
            yield content.problem(("questions", position, "id"), f"{name!r} is used twice")
        seen.add(name)


def _with_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """Merge defaults into each question, ``keep`` field by field."""
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
        merged.append(question)
    return {**raw, "questions": tuple(merged)}


def reason_of(error: Any) -> str:
    """Say in a user's words what is wrong with a field.

    Args:
        error: entry of ``ValidationError.errors()``.
    """
    kind, found = error["type"], error["input"]
    if kind == "extra_forbidden":
        return "unknown key" + (f"; {_COMMA}" if found is None else "")
    if kind == "missing":
        return "is required"
    if kind == "string_type" and found is None:
        return "expected text, found nothing; the word null needs quotes"
    if kind == "string_type" and isinstance(found, list | dict):
        return f"expected text, found a {'list' if isinstance(found, list) else 'mapping'}; {QUOTES}"
    expected = _EXPECTED.get(kind) or error["msg"].removeprefix("Value error, ") + _HINTS.get(kind, "")
    return f"{expected} (found {'nothing' if found is None else reprlib.repr(found)})"
