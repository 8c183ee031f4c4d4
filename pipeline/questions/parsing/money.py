"""Reads amounts with their currency: an ISO code, a sign or a word before or behind a number.

A sign that several currencies share (``$``, ``kr``, ``¥``) stands for the one of the declared locale, and for none
without a locale: a wrong currency is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from babel.core import get_global
from babel.numbers import get_currency_name, get_currency_precision

from pipeline.questions.parsing.locales import Customs, customs_of
from pipeline.questions.parsing.no_value import NoValue
from pipeline.questions.parsing.numbers import plain, read_number

_PARTS = re.compile(
    r"(?P<before>[^0-9]*?)(?P<number>[-+(]?\s*[.,]?[0-9](?:[0-9.,' ]*[0-9])?\s*[-)]?)(?P<behind>[^0-9]*)"
)
# CLDR's narrow symbols, which Babel does not pass on, and signs that countries print. Each stands for these currencies.
SIGNS = {
    "$": ("USD", "CAD", "AUD", "NZD", "MXN", "SGD", "HKD", "ARS", "CLP", "COP", "TWD", "BBD", "JMD", "UYU", "DOP"),
    "£": ("GBP", "EGP", "LBP", "SYP", "GIP", "FKP", "SHP", "SSP"),
    "¥": ("JPY", "CNY"),
    "￥": ("JPY", "CNY"),
    "kr": ("SEK", "NOK", "DKK", "ISK"),
    "kr.": ("DKK", "SEK", "NOK", "ISK"),
    "rs": ("INR", "PKR", "LKR", "NPR", "MUR"),
    "rs.": ("INR", "PKR", "LKR", "NPR", "MUR"),
    "r": ("ZAR", "BRL"),
    "fr": ("CHF", "XAF", "XOF"),
    "fr.": ("CHF", "XAF", "XOF"),
    "sfr": ("CHF",),
    "sfr.": ("CHF",),
    "€": ("EUR",),
    "us$": ("USD",),
    "ca$": ("CAD",),
    "c$": ("CAD", "NIO"),
    "a$": ("AUD",),
    "au$": ("AUD",),
    "nz$": ("NZD",),
    "s$": ("SGD",),
    "hk$": ("HKD",),
    "nt$": ("TWD",),
    "mx$": ("MXN",),
    "r$": ("BRL",),
    "cn¥": ("CNY",),
    "jp¥": ("JPY",),
    "円": ("JPY",),
    "元": ("CNY", "TWD"),
    "원": ("KRW",),
    "₩": ("KRW",),
    "₹": ("INR",),
    "₽": ("RUB",),
    "руб": ("RUB",),
    "руб.": ("RUB",),
    "₺": ("TRY",),
    "tl": ("TRY",),
    "₴": ("UAH",),
    "₪": ("ILS",),
    "₫": ("VND",),
    "₱": ("PHP", "CUP"),
    "₦": ("NGN",),
    "฿": ("THB",),
    "₡": ("CRC",),
    "₲": ("PYG",),
    "₸": ("KZT",),
    "zł": ("PLN",),
    "kč": ("CZK",),
    "ft": ("HUF", "feet"),
    "lei": ("RON", "MDL"),
    "лв": ("BGN",),
    "лв.": ("BGN",),
    "rmb": ("CNY",),
}
SMALL_CODES = frozenset("eur usd gbp chf jpy sek nok dkk pln czk cad aud".split())  # others are words too
_NO_CENTS = (",-", ".-", "/-")
_LARGEST_DECIMALS = 2  # of an amount whose currency is not known


@dataclass(frozen=True, slots=True)
class Money:
    """An amount, and the ISO code of its currency; ``None`` where the text does not tell."""

    amount: Decimal
    currency: str | None
    shared_sign: str | None = None  # a sign that may stand for several currencies

    @property
    def instead(self) -> tuple[str, ...]:
        """Return texts with a code, one for each currency that a shared sign may stand for."""
        return () if self.shared_sign is None else _with_codes([f"{self.amount:f}"], None, self.shared_sign)


def read_money(text: str, customs: Customs | None) -> Money:
    """Read one amount.

    Args:
        text: the amount alone, with its currency or without.
        customs: declared locale; ``None`` for none.

    Raises:
        NoValue: the text is no amount, or more than one.
    """
    cleaned = plain(text)
    found = _PARTS.fullmatch(cleaned)
    if found is None:
        raise NoValue(f"expected one amount of money, found {text!r}")
    before, number, behind = (found[name].strip() for name in ("before", "number", "behind"))
    if number[:1] == "." and before[-1:].isalpha():
        before, number = f"{before}.", number[1:]  # the point of an abbreviation, as in Rs.500
    before, sign = _sign(before)
    behind, ending = _ending(behind)
    named = [word for word in (before, behind) if word]
    currencies = {_currency(word, customs, text) for word in _decisive(named)}
    if len(currencies) > 1:
        raise NoValue(f"expected one currency, found {' and '.join(named)} in {text!r}")
    currency, shared = currencies.pop() if currencies else (None, None)
    decimals = _LARGEST_DECIMALS if currency is None else max(_LARGEST_DECIMALS, get_currency_precision(currency))
    try:
        amount = read_number(f"{sign}{number}{ending}", customs, decimals)
    except NoValue as error:
        raise NoValue(str(error), _with_codes(error.instead, currency, shared)) from error
    if number.endswith("-") and amount.as_tuple().exponent == 0:
        told = f"the dash behind {text!r} may be a minus, or stand for no cents"
        raise NoValue(told, _with_codes([f"{amount:f}", f"{-amount:f}"], currency, shared))
    return Money(amount, currency, shared)


def _with_codes(amounts: Sequence[str], currency: str | None, sign: str | None) -> tuple[str, ...]:
    """Write amounts with the code of their currency, or with each that a sign may stand for."""
    named = [currency or ""] if sign is None else [code for code in _signed(sign) if code in codes()]
    return tuple(f"{code} {amount}".strip() for code in named for amount in amounts)


def _signed(word: str) -> tuple[str, ...]:
    """Return what a sign stands for, with or without the point of an abbreviation."""
    folded = word.casefold().strip()
    return SIGNS.get(folded) or SIGNS.get(folded.rstrip(".")) or ()


def _decisive(named: list[str]) -> list[str]:
    """Leave a sign out beside the code of one of its currencies, which says the same and more: ``$1.00 CAD``."""
    coded = [word for word in named if word in codes()]
    if len(named) == 2 and len(coded) == 1:
        (sign,) = (word for word in named if word not in coded)
        if coded[0] in SIGNS.get(sign.casefold(), ()):
            return coded
    return named


def _sign(before: str) -> tuple[str, str]:
    """Take a minus off the words in front of a number: ``-$`` and ``- $`` say what ``$-`` does."""
    for mark in ("-", "+", "("):
        if before.startswith(mark):
            return before[1:].strip(), mark
    return before, ""


def _ending(behind: str) -> tuple[str, str]:
    """Take a minus or a bracket off the words behind a number, and a dash for no cents, as in ``12,-``."""
    if behind.startswith(_NO_CENTS):
        return behind[1:].lstrip("-").strip(), ""
    if behind.endswith(")"):
        return behind[:-1].strip(), ")"
    return behind, ""


def _currency(word: str, customs: Customs | None, text: str) -> tuple[str | None, str | None]:
    """Find the currency that a word or sign stands for, or the sign itself where several currencies share it."""
    if word in codes() or word.casefold() in SMALL_CODES:
        return word.upper(), None
    folded = word.casefold().strip()
    names = _names(None if customs is None else str(customs.locale))
    if folded in names:
        return names[folded], None
    signs = _signed(word)
    if len(signs) == 1:
        return signs[0], None
    if customs is not None:
        if customs.currency in signs:
            return customs.currency, None
        symbols = customs.locale.currency_symbols.items()
        written = [code for code, sign in symbols if code in codes() and sign.casefold().strip() == folded]
        if len(written) == 1:
            return written[0], None
    if not signs:
        raise NoValue(f"expected a currency beside the amount, found {word!r} in {text!r}")
    return None, word


@cache
def currencies_of(word: str) -> frozenset[str]:
    """Return the codes of all currencies that a word or sign may stand for, in any country that writes English."""
    if word in codes() or word.casefold() in SMALL_CODES:
        return frozenset({word.upper()})
    folded = word.casefold().strip()
    named = _names(None).get(folded)
    return frozenset(_signed(word) if named is None else (named,))


@cache
def codes() -> frozenset[str]:
    """Return the ISO codes of all currencies that a country uses today."""
    used = get_global("territory_currencies").values()
    return frozenset(code for country in used for code, _, end, tender in country if end is None and tender)


@cache
def _names(locale: str | None) -> dict[str, str]:
    """Return the words for currencies in a language and in English, such as ``euros``; shared ones are left out."""
    names: dict[str, str] = {"euro": "EUR", "euros": "EUR"}
    shared: set[str] = set()
    for name in {locale or "en", "en"}:
        babel = customs_of(name).locale
        for code in map(str, babel.currencies):
            for count in (1, 2, 5):
                word = str(get_currency_name(code, count, babel)).casefold()
                if names.setdefault(word, code) != code:
                    shared.add(word)
    return {word: code for word, code in names.items() if word not in shared}
