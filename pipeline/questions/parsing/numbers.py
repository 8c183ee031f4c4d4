"""Reads numbers as people of a declared locale write them, and elsewhere only where one reading is possible.

Babel reads what its locale writes and nothing else; price-parser reads everything and guesses (``1,234`` is 1234 to it,
whatever the locale). Here all conventions are tried, and a text that two of them read differently has no value unless
the locale decides.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from decimal import Decimal

from pipeline.questions.parsing.locales import Customs
from pipeline.questions.parsing.no_value import NoValue

_MINUS = re.compile(r"[\u2010-\u2015\u2212\ufe63\uff0d]")
_SPACES = re.compile(r"[\s\u00a0\u2000-\u200b\u202f\u205f\u2060\u3000]+")
_APOSTROPHES = re.compile(r"[\u2018\u2019\u02bc\u00b4`\uff07]")
_ORDINALS = re.compile(r"(?<=[0-9])[ºª°]")
_SEPARATORS = {"٫": ".", "٬": ",", "،": ","}  # Arabic decimal and group signs
_SIGNED = re.compile(r"(?P<open>\()?\s*(?P<sign>[-+])?\s*(?P<digits>[0-9.,' ]*[0-9])\s*(?P<after>-)?\s*(?P<close>\))?")
# Group and decimal signs that people use. Groups have three digits, in India two but for the last.
_CONVENTIONS = ((",", "."), (".", ","), (" ", ","), (" ", "."), ("'", "."), ("'", ","))


def plain(text: str) -> str:
    """Return a text with ASCII digits and minus signs, one kind of apostrophe, and single blanks.

    Raised and circled figures stay what they are: as marks of footnotes they are no digits of a number.
    """
    text = "".join(_digit(char) for char in _ORDINALS.sub("", text))
    return _SPACES.sub(" ", _APOSTROPHES.sub("'", _MINUS.sub("-", text))).strip()


def _digit(char: str) -> str:
    """Return the ASCII digit that a decimal digit of any script stands for, and other characters as they are."""
    value = unicodedata.decimal(char, None)
    if value is not None:
        return str(value)
    return _SEPARATORS.get(char) or (
        char if unicodedata.category(char) == "No" else unicodedata.normalize("NFKC", char)
    )


def read_number(text: str, customs: Customs | None, decimals: int | None = None) -> Decimal:
    """Read one number.

    Args:
        text: the number alone, with or without a sign; ``(12.50)`` and ``12.50-`` are negative.
        customs: declared locale; ``None`` for none.
        decimals: most decimals that make sense, as of a currency; ``None`` for any number.

    Raises:
        NoValue: the text is no number, or more than one.
    """
    found = _SIGNED.fullmatch(plain(text))
    if found is None or (found["open"] is None) != (found["close"] is None):
        raise NoValue(f"expected a number, found {text!r}")
    negative = "-" in (found["sign"], found["after"]) or found["open"] is not None
    if sum((found["sign"] is not None, found["after"] is not None, found["open"] is not None)) > 1:
        raise NoValue(f"expected a number, found {text!r} with several signs")
    digits = found["digits"].strip()
    try:
        number = _unsigned(f"0{digits}" if digits[0] in ".," else digits, customs, decimals)
    except NoValue as error:
        raise NoValue(str(error), (f"-{text}" if negative else text for text in error.instead)) from error
    return -number if negative else number


def _unsigned(digits: str, customs: Customs | None, decimals: int | None) -> Decimal:
    readings: set[Decimal] = set()
    if customs is not None:
        group, decimal = _sign_of(customs.group), _sign_of(customs.decimal)
        # What the locale writes; or its decimal sign, and another sign between the groups.
        readings = set(_readings(digits, [(group, decimal)]))
        readings = readings or set(_readings(digits, [pair for pair in _CONVENTIONS if pair[1] == decimal]))
        if decimals is not None and any(_decimals(reading) > decimals for reading in readings):
            told = f"expected at most {decimals} decimals, found {digits!r}; it may be a group of digits"
            raise NoValue(told, _without_doubt(_sensible(_readings(digits, _CONVENTIONS), decimals)))
    readings = _sensible(readings or _readings(digits, _CONVENTIONS), decimals)
    if not readings:
        raise NoValue(f"expected a number, found {digits!r}")
    if len(readings) > 1:
        either = " or ".join(str(reading) for reading in sorted(readings))
        raise NoValue(f"{digits!r} may be {either}; a locale would decide", _without_doubt(readings))
    return readings.pop()


def _sensible(readings: Iterable[Decimal], decimals: int | None) -> set[Decimal]:
    return {reading for reading in readings if decimals is None or _decimals(reading) <= decimals}


def _without_doubt(readings: Iterable[Decimal]) -> Iterator[str]:
    """Write numbers with a point; a nought keeps three decimals from being a group of digits."""
    for reading in sorted(readings):
        yield f"{reading:f}0" if _decimals(reading) == 3 else f"{reading:f}"


def _readings(digits: str, conventions: Iterable[tuple[str, str]]) -> Iterator[Decimal]:
    for group, decimal in conventions:
        for indian in (False, True):
            reading = _read(digits, group, decimal, indian)
            if reading is not None:
                yield reading


def _read(digits: str, group: str, decimal: str, indian: bool) -> Decimal | None:
    """Read digits in one convention; ``None`` if they are not written so."""
    whole, sign, fraction = digits.partition(decimal)
    if (sign and not fraction.isdigit()) or not whole:
        return None
    if not whole.isdigit():
        groups = whole.split(group)
        if len(groups) < 2 or not all(part.isdigit() for part in groups):
            return None
        size, (first, *middle, last) = 2 if indian else 3, groups
        if len(last) != 3:
            return None
        if not 1 <= len(first) <= size or any(len(part) != size for part in middle) or first == "0":
            return None
    return Decimal(f"{whole.replace(group, '')}.{fraction}" if sign else whole.replace(group, ""))


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _sign_of(symbol: str) -> str:
    return plain(symbol) or " "
