"""Reads a JSON Schema from a file or from a pydantic model, and follows its references."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from typing import Any

import jsonschema
from jsonschema.validators import validator_for
from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, specification_with
from yaml.reader import Reader

from pipeline.errors import QuestionsError
from pipeline.questions.text_file import read_text

_MODEL = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_CLASS = re.compile(r"<class '([^']+)'>")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEEPEST = 64  # objects and lists inside each other; each level takes several of Python's calls
_MOST_CHARACTERS = 500  # of a message of jsonschema, which may quote all of a schema
_EXAMPLE = "name a JSON Schema such as invoice.json, or a pydantic model as module:Model"


def is_model(name: str) -> bool:
    """Tell whether a name means a model in a Python module, as in ``shop.invoices:Invoice``; a file goes first.

    Args:
        name: name as a user gives it.
    """
    return _MODEL.fullmatch(name) is not None and not os.path.lexists(name)


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a schema, with what is needed to follow its references.

    Attributes:
        content: keywords of the part.
        resolver: finds what a reference in it stands for.
        refs: references that led here, by which circles are found.
    """

    content: Mapping[str, Any]
    resolver: Any
    refs: frozenset[str] = frozenset()

    def below(self, content: object) -> Node:
        """Return a part inside this one.

        Args:
            content: its keywords.

        Raises:
            ValueError: it is no object.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"expected an object with type, title or description, found {json.dumps(content)}")
        return Node(content, self.resolver, self.refs)

    def followed(self) -> Node:
        """Return the part with what its ``$ref`` stands for in its place; keywords beside the reference go first.

        Raises:
            ValueError: the reference leads nowhere, out of the file, or in a circle.
        """
        node = self
        while "$ref" in node.content:
            ref = node.content["$ref"]
            if not isinstance(ref, str):
                raise ValueError(f"$ref: expected text, found {json.dumps(ref):.50}")
            if ref in node.refs:
                raise ValueError(f"{ref} refers to itself, so its questions have no end")
            try:
                found = node.resolver.lookup(ref)
            except (Unresolvable, TypeError, ValueError) as error:  # into a number, or with no address
                raise ValueError(
                    f"$ref: {ref:.200} is not in the schema; only references inside of it are followed"
                ) from error
            beside = {key: value for key, value in node.content.items() if key != "$ref"}
            target = node.below(found.contents)
            node = Node({**target.content, **beside}, found.resolver, node.refs | {ref})
        return node


def read_schema(name: str) -> Node:
    """Read a schema and check it against the rules of JSON Schema.

    Args:
        name: path or URI of a JSON file, or a model as ``module:Model``.

    Raises:
        QuestionsError: it cannot be read, or is no schema of an object.
    """
    schema = _of_model(name) if is_model(name) else _of_file(name)
    odd = next((text for text in _texts(schema) if Reader.NON_PRINTABLE.search(text)), None)
    if odd is not None:
        raise QuestionsError(
            f"{name}: there is a character in {ascii(odd):.60} that may not stand in a text; take it out"
        )
    if not isinstance(schema, dict):
        raise QuestionsError(f"{name}: expected a JSON Schema, which is an object, found {type(schema).__name__}")
    dialect = schema.get("$schema", _DIALECT)
    try:
        validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(schema)
        known = specification_with(dialect, default=DRAFT202012)
    except jsonschema.SchemaError as error:
        reason = f"{error.json_path}: is no JSON Schema: {error.message:.{_MOST_CHARACTERS}}"
        raise QuestionsError(f"{name}: {reason}") from error
    except (ValueError, TypeError, AttributeError) as error:  # of the address of the dialect
        raise QuestionsError(
            f"{name}: $schema: expected the address of a dialect, such as {_DIALECT}, found {json.dumps(dialect):.100}"
        ) from error
    resource = known.create_resource(schema)
    base = resource.id() or ""
    return Node(schema, Registry().with_resource(base, resource).resolver(base))


def _of_file(name: str) -> object:
    text = read_text(name, "a JSON Schema")
    try:
        schema = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        reason = f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise QuestionsError(f"{name}:{error.lineno}: {reason}; {_EXAMPLE}") from error
    except RecursionError as error:
        raise QuestionsError(f"{name}: is nested deeper than a schema can be") from error
    except _Twice as error:
        raise QuestionsError(f"{name}: {error} is given twice in one object; take one out") from error
    except ValueError as error:
        raise QuestionsError(f"{name}: holds a number of too many digits: {error}") from error
    if _deeper(schema, _DEEPEST):
        raise QuestionsError(f"{name}: is nested deeper than a schema can be")
    return schema


def _deeper(value: object, levels: int) -> bool:
    """Tell whether more than ``levels`` objects and lists stand inside each other."""
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(_deeper(p, levels - 1) for p in (value.values() if isinstance(value, dict) else value))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


class _Twice(Exception):
    """A key that an object has twice, of which JSON would silently drop the first."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(repr(key))
        found[key] = value
    return found


def _of_model(name: str) -> object:
    module, _, path = name.partition(":")
    found = _imported(name, module)
    try:
        for part in path.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise QuestionsError(f"{name}: cannot be imported: {error}; {_EXAMPLE}") from error
    has_fields = is_dataclass(found) or hasattr(found, "__total__")  # which typed dictionaries have
    if not (isinstance(found, type) and (has_fields or issubclass(found, BaseModel))):
        raise QuestionsError(f"{name}: expected a pydantic model or a dataclass, found {found!r:.100}; {_EXAMPLE}")
    try:
        return TypeAdapter(found).json_schema()
    except PydanticUserError as error:
        named = _CLASS.search(str(error))
        kind = f"of the type {named[1]}, which JSON Schema cannot say" if named else "that JSON Schema cannot say"
        raise QuestionsError(
            f"{name}: has a field {kind}; expected text, numbers, truth values, dates, enumerations, and lists and "
            "models of these"
        ) from error


def _imported(name: str, module: str) -> Any:
    try:
        with _importing_from_here():
            return importlib.import_module(module)
    # The module is the user's program, which may raise whatever it likes, or end; none of it is a fault of docpipe.
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, ImportError | SyntaxError) else f"{type(error).__name__}: "
        said = " ".join(str(error).split()) or "no message"
        raise QuestionsError(f"{name}: cannot be imported: {kind}{said:.500}; {_EXAMPLE}") from error


@contextmanager
def _importing_from_here() -> Iterator[None]:
    """Let modules of the working directory be imported, which a console script alone does not."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:  # the module may have changed it
            sys.path.remove(here)
