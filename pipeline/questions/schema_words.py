"""Puts the name of a property of a JSON Schema into words: the id and the text of its question."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHERS = str.maketrans({"ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "Æ": "Ae", "Ø": "O", "Ł": "L"})
"""Letters of which Unicode knows no plain part."""


def id_of(path: Sequence[str]) -> str:
    """Make an id of the names of a property and the objects around it; empty if there are no letters in them.

    Args:
        path: the names, from the outermost object.
    """
    parts = []
    for name in path:
        plain = unicodedata.normalize("NFKD", _HUMP.sub("_", name.translate(_OTHERS)))
        letters = plain.encode("ascii", "ignore").decode().lower()
        parts.append(re.sub(r"[^a-z0-9]+", "_", letters).strip("_"))
    return "_".join(part for part in parts if part)


def name_of(content: Mapping[str, Any], name: str) -> str:
    """Name a property in words: by its title, or by its name without humps and underscores.

    Args:
        content: keywords of the property itself, not of what it refers to.
        name: its name.
    """
    title = content.get("title")
    if isinstance(title, str) and title.strip():
        return title.strip()
    return " ".join(_HUMP.sub(" ", name).replace("_", " ").split()) or name


def text_of(description: object, words: Sequence[str], kind: str) -> str:
    """Write the question: the description where there is one, else words around the name.

    Args:
        description: description of the property.
        words: names of the objects around the property in words, and its own.
        kind: type of the answer.
    """
    *around, _ = words
    if isinstance(description, str) and description.strip():
        text = description.strip()
        return text if text.endswith("?") or not around else f"{' '.join(around)}: {text}"
    named = " ".join(words)
    lower = " ".join(word.lower() if word.istitle() else word for word in named.split())
    if kind == "boolean":
        return f"{named[:1].upper()}{named[1:]}: yes or no?"
    return f"What are the {lower}?" if kind == "list" else f"What is the {lower}?"
