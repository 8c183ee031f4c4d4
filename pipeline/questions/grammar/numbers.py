"""Makes the expressions of numbers as people of any country write them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.questions.grammar.pieces import MINUS, SPACE, either, maybe

_APOSTROPHE = "['\u2018\u2019\u02bc`]"
SIGN = f"(?:{MINUS}|\\+)"


@dataclass(frozen=True, slots=True)
class _Script:
    """The digits of a script, from its zero on, and its signs between them."""

    zero: str
    comma: str = ","
    point: str = "."

    def digit(self, least: int = 0) -> str:
        return f"[{chr(ord(self.zero) + least)}-{chr(ord(self.zero) + 9)}]"


# Latin, full width, Arabic, Persian, Devanagari, Bengali, Thai.
_SCRIPTS = (
    _Script("0"),
    _Script("\uff10", ",\uff0c", ".\uff0e"),
    _Script("\u0660", ",\u066c\u060c", ".\u066b"),
    _Script("\u06f0", ",\u066c\u060c", ".\u066b"),
    _Script("\u0966"),
    _Script("\u09e6"),
    _Script("\u0e50"),
)


def unsigned(least: int | None, most: int | None = None, needed: bool = False, latin: bool = False) -> str:
    """Return the expression of a number without a sign.

    Args:
        least: least digits behind the decimal sign, where there is one; ``None`` for whole numbers.
        most: most digits there; ``None`` for any number of them.
        needed: whether there has to be a decimal sign.
        latin: whether only Latin digits are meant.
    """
    scripts = _SCRIPTS[:1] if latin else _SCRIPTS
    return either(*(form for script in scripts for form in _forms(script, least, most, needed)))


def number(decimals: bool) -> str:
    """Return the expression of a number with or without a sign, in brackets or with a percent sign.

    Args:
        decimals: whether it may have decimals.
    """
    plain = either(unsigned(1), "[.,][0-9]+") if decimals else unsigned(None)
    before, percent = maybe(f"{SIGN}{SPACE}?"), maybe(f"{SPACE}?%")
    return either(f"{before}{plain}{percent}", f"{plain}{MINUS}", rf"\({plain}\)")


def _forms(script: _Script, least: int | None, most: int | None, needed: bool) -> Iterator[str]:
    digit, first = script.digit(), script.digit(1)
    comma, point = f"[{script.comma}]", f"[{script.point}]"
    sign = f"[{script.comma}{script.point}]"
    fraction = None
    if least is not None:
        fraction = digit * least + (f"{digit}*" if most is None else f"{digit}?" * (most - least))

    def behind(decimal: str) -> str:
        if fraction is None:
            return ""
        return decimal + fraction if needed else maybe(decimal + fraction)

    yield f"{digit}+{behind(sign)}"
    for group, decimal in ((comma, point), (point, comma), (SPACE, sign), (_APOSTROPHE, sign)):
        yield f"{first}{digit}?{digit}?(?:{group}{digit * 3})+{behind(decimal)}"
    # In India, groups have two digits but for the last.
    yield f"{first}{digit}?(?:{comma}{digit * 2})+{comma}{digit * 3}{behind(point)}"
