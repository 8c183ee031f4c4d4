"""Reads numbers, amounts and dates in every way in which they may be meant, to compare what is written differently."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

from pipeline.answering.folded_text import same_width
from pipeline.questions.parsing.locales import Customs, customs_of
from pipeline.questions.parsing.money import currencies_of, read_money
from pipeline.questions.parsing.no_value import NoValue
from pipeline.questions.parsing.numbers import read_number

Read = TypeVar("Read")

# Locales that differ in the signs of numbers, and in the order of dates. Without one, only a sole meaning is read.
_NUMBER_LOCALES = (None, "en_US", "de_DE")
_DATE_LOCALES = (None, "en_US", "en_GB")
_AROUND = re.compile(r"^[\s\"'*~=:;,]+|[\s\"'*:;,.!?%]+$")
_PER_CENT = "%"
_LONGEST = 60  # characters of a number or a date with what belongs to it
_BRACKETS = re.compile(r"\((.*)\)")
_FIGURES = re.compile(r"\d{1,4}\s?[-./]\s?\d{1,2}\s?[-./]\s?\d{1,4}")
_PADDED = re.compile(r"\D*0\d")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number or an amount, as it may be meant.

    Attributes:
        values: its values by the conventions of several countries.
        digits: its digits.
        padded: whether it begins with a nought that is no whole part, as codes do.
        units: codes of the currencies that it may be in, or the per cent sign; empty where it names none.
    """

    values: frozenset[Decimal]
    digits: str
    padded: bool
    units: frozenset[str] = frozenset()

    def equals(self, other: Figure) -> bool:
        """Tell whether both may have the same value, and the same unit if both name one."""
        if (self.padded or other.padded) and self.digits != other.digits:
            return False
        apart = self.units and other.units and not self.units & other.units
        return not apart and not self.values.isdisjoint(other.values)


@lru_cache(16384)
def figure_of(text: str) -> Figure | None:
    """Read a number or an amount, with its currency or per cent sign; ``None`` for any other text."""
    core = _AROUND.sub("", same_width(text))
    digits = "".join(char for char in core if "0" <= char <= "9")
    if not digits or len(core) > _LONGEST:
        return None
    inside = _BRACKETS.fullmatch(core)  # which make it negative, or mean nothing
    values = {value for form in {core, inside[1] if inside else core} for value in _values(form)}
    if not values:
        return None
    units = units_of(_PER_CENT) if _PER_CENT in same_width(text) else frozenset[str]()
    for word in re.split(r"[\d\s.,'()+-]+", core):
        units |= units_of(word)
    return Figure(frozenset(values), digits, _PADDED.match(core) is not None, units)


def units_of(word: str) -> frozenset[str]:
    """Return the codes of the currencies that a word may stand for, or the per cent sign if it is that."""
    return frozenset({_PER_CENT}) if same_width(word) == _PER_CENT else currencies_of(word)


def _values(text: str) -> set[Decimal]:
    numbers = _readings(read_number, text, _NUMBER_LOCALES)
    if not numbers and re.search(r"[^\d\s.,'()+-]", text):
        numbers = {money.amount for money in _readings(read_money, text, _NUMBER_LOCALES)}
    return numbers


@lru_cache(4096)
def dates_of(text: str) -> frozenset[date]:
    """Read a date with the day before the month and behind it; empty for any other text."""
    from pipeline.questions.parsing.dates import read_date  # which takes a while, for answers that may be dates

    core = _AROUND.sub("", text)
    if len(core) > _LONGEST:
        return frozenset()
    beside = _FIGURES.sub("", core, count=1)
    if beside != core and any(map(str.isalpha, beside)):
        return frozenset()  # a date in figures among other words, which are a part of what is said
    return frozenset(_readings(read_date, core, _DATE_LOCALES))


def _readings(read: Callable[[str, Customs | None], Read], text: str, locales: Sequence[str | None]) -> set[Read]:
    found = set()
    for locale in locales:
        try:
            found.add(read(text, None if locale is None else customs_of(locale)))
        except NoValue:
            continue
    return found
