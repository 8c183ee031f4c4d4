"""Puts regular expressions together that Python and the engine of the token masks both read.

They hold literals, classes, groups, ``|``, ``?``, ``*`` and ``+`` and nothing else, such as anchors or counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

SPACE = "[ \u00a0\u2009\u202f]"
MINUS = "[-\u2010\u2011\u2012\u2013\u2014\u2212]"
_SPECIAL = re.compile(r"[][\\.^$|?*+(){}&~#-]")


def literal(text: str) -> str:
    """Return the expression of a text as it is."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def either(*expressions: str) -> str:
    """Return the expression of what any of some expressions allows."""
    return f"(?:{'|'.join(dict.fromkeys(expressions))})"


def words(texts: Iterable[str]) -> str:
    """Return the expression of texts in small or large letters, as a tree, in which few of many texts are ever left."""
    return _tree({tuple(map(_any_case, text)) for text in texts})


def _tree(spelled: Set[tuple[str, ...]]) -> str:
    branches: dict[str, set[tuple[str, ...]]] = {}
    for text in spelled:
        if text:
            branches.setdefault(text[0], set()).add(text[1:])
    tree = either(*(first + (_tree(rest) if any(rest) else "") for first, rest in sorted(branches.items())))
    return maybe(tree) if () in spelled else tree


def _any_case(char: str) -> str:
    small, large = char.lower(), char.upper()
    if len(small) == len(large) == 1 and small != large and large.lower() == small and small.upper() == large:
        return f"[{small}{large}]"
    return literal(char)


def maybe(expression: str) -> str:
    """Return the expression of what an expression allows, or of nothing."""
    return f"(?:{expression})?"
