"""Defines what an exporter is: a function that writes rows to a file, in a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

Row = Mapping[str, Any]
"""A current answer: columns of ``answers``, with ``reviewed``, ``place``, and ``sizes``: page, ``width_pt`` and
``height_pt`` of each of its pages."""

Cell = str | int | float | bool | Decimal | date | None
Level = Literal["documents", "pages"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a sheet.

    Attributes:
        name: its name.
        cell: what it holds for a row.
        to_fill_in: whether it is empty, for a person to write in.
    """

    name: str
    cell: Callable[[Row], Cell]
    to_fill_in: bool = False


@dataclass(frozen=True, slots=True)
class Exporter:
    """A format that answers can be exported in.

    Attributes:
        write: function of the file, the rows and the columns, which returns what a user has to be told.
        levels: levels of rows that it takes, the default first.
        is_sheet: whether a person can open it and write in it.
        most_rows: most rows that a file can hold; ``None`` for any number.
    """

    write: Callable[[Path, Iterable[Row], Sequence[Column]], list[str]]
    levels: tuple[Level, ...] = ("documents", "pages")
    is_sheet: bool = False
    most_rows: int | None = None
