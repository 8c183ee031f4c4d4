"""Knows what a declared locale says about numbers, money and dates; all of it is CLDR's, through Babel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.dates import get_date_format
from babel.numbers import get_decimal_symbol, get_group_symbol, get_territory_currencies


@dataclass(frozen=True, slots=True)
class Customs:
    """What a locale is known by.

    Attributes:
        locale: Babel's locale.
        language: code of the language, such as ``de``.
        territory: code of the country, such as ``CH``; ``None`` if the locale names none.
        decimal: sign before decimals.
        group: sign between groups of digits.
        date_order: order of day, month and year in short dates, such as ``DMY``; ``None`` where the language does not
            decide it, as in English.
        currency: currency of the country; ``None`` if the locale names none.
    """

    locale: Locale
    language: str
    territory: str | None
    decimal: str
    group: str
    date_order: str | None
    currency: str | None


@cache
def customs_of(name: str) -> Customs:
    """Look up a locale.

    Args:
        name: locale such as ``de_CH``, ``de-CH`` or ``de``.

    Raises:
        ValueError: CLDR knows no such locale.
    """
    try:
        locale = Locale.parse(name.replace("-", "_"))
    except (ValueError, UnknownLocaleError) as error:
        raise ValueError(f"expected a locale such as en_US or de_CH, found {name!r}") from error
    territory = locale.territory
    currencies = get_territory_currencies(territory) if territory else []
    return Customs(
        locale=locale,
        language=locale.language,
        territory=territory,
        decimal=get_decimal_symbol(locale),
        group=get_group_symbol(locale),
        # Babel takes English without a country for American, but half of those who write it put the day first.
        date_order=_date_order(locale) if territory or locale.language != "en" else None,
        currency=str(currencies[0]) if currencies else None,
    )


def _date_order(locale: Locale) -> str:
    letters = re.sub(r"'[^']*'", "", get_date_format("short", locale).pattern)
    return "".join(dict.fromkeys(letter.upper() for letter in letters if letter in "dMy"))
