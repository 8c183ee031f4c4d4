"""Reads YAML in which every scalar is text, so that ``no``, ``010`` and ``1:30`` mean what they look like."""

from __future__ import annotations

import codecs
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.errors import QuestionsError
from pipeline.questions.yaml_tree import QUOTES, Content, Loader, Place

MOST_BYTES = 1_000_000
"""Size above which a file is refused before it is read, in bytes."""

_MOST_PROBLEMS = 20
_OTHER_DOCUMENT = "another document"  # in the words of the YAML library
_ONE_DOCUMENT = (
    "expected one YAML document, found another; take the line '---' out, and list all questions under one 'questions:'"
)


@dataclass(frozen=True, slots=True)
class YamlText:
    """The content of a YAML file: dicts, lists, text and ``None``, with the line of each place."""

    source: str
    value: Any
    lines: Mapping[Place, int]

    def problem(self, place: Place, reason: str) -> str:
        """Write a message about a place, or about its nearest parent that exists in the file."""
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        return _message(self.source, self.lines.get(known, 1), place, reason)


def decode(data: bytes, source: str) -> str:
    """Decode the bytes of a file as UTF-8, or as UTF-16 if it begins with a byte order mark.

    Args:
        data: content of the file.
        source: name of the file, for messages.

    Raises:
        QuestionsError: the bytes are no text.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"expected text in UTF-8, found {data[error.start : error.end][:4]!r}; save it as UTF-8 text"
        raise QuestionsError(_message(source, data.count(b"\n", 0, error.start) + 1, (), reason)) from error


def read_yaml(text: str, source: str) -> YamlText:
    """Read the text of a YAML file.

    Args:
        text: content of the file.
        source: name of the file, for messages.

    Raises:
        QuestionsError: the text is not valid, or uses more of YAML than text, lists and mappings with different keys;
            the message has a line ``source:line: field: reason`` per problem.
    """
    loader: Loader | None = None
    try:
        loader = Loader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:  # a character that may not be in YAML, such as NUL
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        reason = f"{chr(error.character)!r} may not stand in a text; take it out"
        raise QuestionsError(_message(source, line, (), _not_valid(line, column, reason))) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        begun = error.context_mark
        since = f", {error.context} from line {begun.line + 1}" if begun and begun.line + 1 < line else ""
        other = _OTHER_DOCUMENT in str(error.problem)
        hint = "indent with spaces, not tabs" if "'\\t'" in str(error.problem) else QUOTES
        reason = _not_valid(line, column, _ONE_DOCUMENT if other else f"{error.problem}{since}; {hint}")
        place = () if loader is None or other else loader.last
        raise QuestionsError(_message(source, line, place, reason)) from error
    except (ValueError, OverflowError) as error:  # a version of thousands of digits, or an escape such as \UFFFFFFFF
        reached = None if loader is None else loader.get_mark()
        line, column = (1, 1) if reached is None else (reached.line + 1, reached.column + 1)
        reason = _not_valid(line, column, f"what stands there is no character or no number; {QUOTES}")
        raise QuestionsError(_message(source, line, () if loader is None else loader.last, reason)) from error
    found = Content()
    value = None if node is None else found.read(node, ())
    if found.problems:
        raise QuestionsError(joined(_message(source, *problem) for problem in found.problems))
    return YamlText(source, value, found.lines)


def joined(problems: Iterator[str]) -> str:
    """Join the messages about one file, of which only the first are given if there are very many."""
    lines = list(problems)
    more = len(lines) - _MOST_PROBLEMS
    return "\n".join(lines if more <= 0 else [*lines[:_MOST_PROBLEMS], f"and {more} more"])


def _not_valid(line: int, column: int, reason: str) -> str:
    return f"not valid YAML at line {line}, column {column}: {reason}"


def _message(source: str, line: int, place: Place, reason: str) -> str:
    return f"{source}:{line}: {'.'.join(map(_shown, place)) or 'file'}: {reason}"


def _shown(part: int | str) -> str:
    """Write a part of a place so that it stays short and on one line, whatever the file calls it."""
    return str(part) if isinstance(part, int) else reprlib.repr(str(part))[1:-1]
