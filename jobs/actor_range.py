"""Reads ``--actors``: a number of actors, or a range such as ``4-20`` within which their number follows the cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_WRITTEN = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class ActorRange:
    """A range within which the number of actors follows the cluster.

    Attributes:
        least: fewest actors, 1 or more.
        most: most actors, more than ``least``.
    """

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}-{self.most}"


def read_actors(given: Any) -> int | ActorRange:
    """Read a number of actors, or a range of it.

    Args:
        given: a number, ``4`` or ``4-20`` as text, or the result of an earlier call.

    Raises:
        ValueError: it is none of these, or the range is empty.
    """
    if isinstance(given, ActorRange):
        return given
    found = _WRITTEN.fullmatch(str(given).strip())
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most:
        raise ValueError(f"--actors: expected a number of 1 or more, or a range such as 4-20, found {given!r}")
    return least if least == most else ActorRange(least, most)


Actors = Annotated[
    int | ActorRange, BeforeValidator(read_actors), PlainSerializer(lambda a: a if isinstance(a, int) else str(a))
]
"""The setting ``actors``, which JSON and TOML hold as a number or as text."""
