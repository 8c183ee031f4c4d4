"""Says in a user's words which settings differ from those that an output folder was made with."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.output.json_files import QUESTION

_LIMITS = ("type", "items", "constrain")  # fields that may change at any time
_EXCERPT = 100  # characters of a text, for a message that fits on a screen


def changed_flags(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Describe each flag that differs, by its name, as ``--dpi was 144, is 200``.

    Args:
        known: recorded settings by flag. One with a ``fingerprint`` is known to the user by its ``name``.
        given: settings of this run, in the same form; a key that only one of the two has is no difference.
    """
    flags = {key: _flag(key, old, new) for key, old, new in _both(known, given) if not _is_question(key)}
    return {key: line for key, line in flags.items() if line is not None}


def changed_questions(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Describe what differs in each question, by its id, as ``text was "Who?", is "When?"``.

    Args:
        known: recorded settings; the key of a question is ``question `` and its id. Its ``identity`` says whether the
            answers are the same, and its ``fields`` hold what the user wrote. Where the identity alone differs, it does
            because of a flag.
        given: settings of this run, in the same form.
    """
    questions = {
        key.removeprefix(QUESTION): list(_fields(old["fields"], new["fields"]))
        for key, old, new in _both(known, given)
        if _is_question(key) and old["identity"] != new["identity"]
    }
    return {name: lines for name, lines in questions.items() if lines}


def _both(known: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    return ((key, known[key], new) for key, new in given.items() if key in known)


def _is_question(key: str) -> bool:
    return key.startswith(QUESTION)


def _flag(flag: str, old: Any, new: Any) -> str | None:
    if not isinstance(new, Mapping):
        return None if old == new else f"{flag} was {_words(old)}, is {_words(new)}"
    if old["fingerprint"] == new["fingerprint"]:
        return None
    if old["name"] == new["name"]:
        return f"{flag} {new['name']} has other content than when the answers were made"
    return f"{flag} was {old['name']}, is {new['name']}"


def _fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, value in new.items():
        # A type counts only where it brings another prompt.
        if old[name] != value and (name not in _LIMITS or old["prompt"] != new["prompt"]):
            before, after = _excerpts(_quoted(old[name]), _quoted(value))
            yield f"{name} was {before}, is {after}"


def _words(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _quoted(value: Any) -> str:
    return '"' + value.replace("\n", "\\n") + '"' if isinstance(value, str) else _words(value)


def _excerpts(old: str, new: str) -> tuple[str, str]:
    """Cut two long texts down to where they begin to differ."""
    if max(len(old), len(new)) <= _EXCERPT:
        return old, new
    start = max(0, len(os.path.commonprefix([old, new])) - _EXCERPT // 4)
    cut = [text[start : start + _EXCERPT] for text in (old, new)]
    first, second = (
        ("..." if start else "") + part + ("..." if len(text) > start + _EXCERPT else "")
        for part, text in zip(cut, (old, new), strict=True)
    )
    return first, second
