"""Makes questions of a JSON Schema or a pydantic model: one for each property that holds a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pipeline.errors import QuestionsError
from pipeline.file_names import printable
from pipeline.questions.file import Defaults, Place, QuestionSet, reason_of
from pipeline.questions.question import Question
from pipeline.questions.schema_source import Node, read_schema
from pipeline.questions.schema_types import (
    ASK,
    LEAVE_OUT,
    SETTINGS,
    answer_fields,
    check_aggregate,
    is_group,
    kind_of,
    simplified,
)
from pipeline.questions.schema_words import id_of, name_of, text_of

_DEEPEST = 12
_OWN = {*Question.model_fields} - {"choices"}
_OF_OBJECTS = {*Defaults.model_fields}


def load_schema(name: str) -> QuestionSet:
    """Make questions of a schema.

    Args:
        name: path or URI of a JSON file, or a pydantic model as ``module:Model``.

    Raises:
        QuestionsError: the schema cannot be read, or uses what no question can ask for; the message has a line
            ``schema: property: reason`` for each problem.
    """
    reader = _Reader(name)
    reader.read_object(read_schema(name), (), (), {})
    if not reader.questions and not reader.problems:
        raise QuestionsError(f"{name}: expected properties to ask for, found none")
    if reader.problems:
        raise QuestionsError("\n".join(reader.problems))
    return QuestionSet(version=1, questions=tuple(reader.questions), places=reader.places)


@dataclass(slots=True)
class _Reader:
    """Collects the questions of a schema, and everything that is wrong with it."""

    name: str
    questions: list[Question] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def read_object(
        self, node: Node, path: tuple[str, ...], words: tuple[str, ...], inherited: Mapping[str, Any]
    ) -> None:
        """Read the properties of an object; ``words`` say what it is, and settings around it are inherited."""
        try:
            node = simplified(node) if not path else node
            if (
                kind_of(node) == "object"
                and not node.content.get("properties")
                and node.content.get("additionalProperties", False) is not False
            ):
                raise ValueError(
                    "additionalProperties: an object with any names, such as dict[str, str], is not supported, because "
                    f"there is nothing to ask for; name its properties, or {LEAVE_OUT}"
                )
            if kind_of(node) != "object" or not isinstance(node.content.get("properties"), Mapping):
                raise ValueError(f"expected an object with properties, found type {node.content.get('type')!r}")
            if len(path) > _DEEPEST:
                raise ValueError(f"nested deeper than {_DEEPEST} objects")
            settings = _settings(node.content)
            _check_known(settings, _OF_OBJECTS)
            settings = {**inherited, **settings}
        except ValueError as error:
            self._problem(path, str(error))
            return
        for name, content in node.content["properties"].items():
            try:
                self._read_property(node.below(content), (*path, name), words, settings)
            except ValueError as error:
                self._problem((*path, name), str(error))

    def _read_property(
        self, node: Node, path: tuple[str, ...], words: tuple[str, ...], inherited: Mapping[str, Any]
    ) -> None:
        beside, settings = node.content, _settings(node.content)
        if settings.get(ASK) is False:
            return
        node = simplified(node)
        kind, settings = kind_of(node), _settings(node.content)
        called = name_of(beside, path[-1])  # several properties may refer to one object, under one title
        if is_group(node, kind, settings):
            self.read_object(node, path, (*words, called), inherited)
            return
        _check_known(settings, _OWN)
        fields, entry = answer_fields(node, kind, settings)
        text = text_of(node.content.get("description"), (*words, called), fields["type"])
        made = {"id": id_of(path), "text": text, **inherited, **settings, **fields}
        if not made["id"]:
            raise ValueError(
                f"expected a name with letters a-z or digits, of which an id can be made, found {path[-1]!r}; "
                f'set one: "{SETTINGS}": {{"id": ...}}'
            )
        check_aggregate(made.get("aggregate"), kind)
        if isinstance(inherited.get("keep"), Mapping) and isinstance(settings.get("keep"), Mapping):
            made["keep"] = {**inherited["keep"], **settings["keep"]}
        try:
            question = Question.model_validate(made)
        except ValidationError as error:
            for one in error.errors():
                self._problem(path, ": ".join([*map(str, one["loc"]), reason_of(one)]))
            return
        if question.id in self.places:
            other = ".".join(self.places[question.id].path)
            raise ValueError(f'has the id {question.id!r}, as has {other}; set another: "{SETTINGS}": {{"id": ...}}')
        self.questions.append(question)
        self.places[question.id] = Place(path=path, kind=kind, items=entry)

    def _problem(self, path: tuple[str, ...], reason: str) -> None:
        place = ".".join(path) if path else "schema"
        self.problems.append(printable(f"{self.name}: {place}: {reason}"))


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of docpipe beside a property."""
    raw = content.get(SETTINGS, {})
    if not isinstance(raw, Mapping):
        raise ValueError(f"{SETTINGS}: expected an object with settings, found {raw!r}")
    return dict(raw)


def _check_known(settings: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"{SETTINGS}: unknown key {unknown[0]!r}; expected {', '.join(sorted(known))}")
