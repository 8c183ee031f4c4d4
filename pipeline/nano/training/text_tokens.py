"""Random words, numbers and marks for crops full of text: no list is behind them, so nothing can be remembered."""

from __future__ import annotations

import random

from pipeline.nano.training.vocabulary import CHARSET

DIGITS, UPPER, LOWER = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_ACCENTED = [char for char in CHARSET if ord(char) > 191 and char.isalpha()]
ACCENTED_LOWER = "".join(char for char in _ACCENTED if char.islower())
ACCENTED_UPPER = "".join(char for char in _ACCENTED if char.isupper())
MARKS = "".join(char for char in CHARSET if not char.isalnum() and char != " ")
_MONTHS = (
    "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec January February March April June July August September October "
    "November December Januar Februar März Mai Juni Juli Oktober Dezember janvier février mars avril juin juillet août "
    "septembre octobre novembre décembre enero febrero marzo abril mayo junio julio agosto septiembre noviembre"
).split()
_KINDS = ("digits", "money", "code", "date", "mark", "name", "word", "upper", "mixed", "accented", "marks")
_SHARES = (16, 13, 10, 9, 6, 14, 12, 5, 7, 6, 2)


def some(rng: random.Random, chars: str, low: int, high: int) -> str:
    """Between low and high of these characters."""
    return "".join(rng.choices(chars, k=rng.randint(low, high)))


def random_token(rng: random.Random) -> str:
    """One word, number, code, date, amount or mark, without blanks except inside dates and amounts."""
    kind = rng.choices(_KINDS, _SHARES)[0]
    if kind == "digits":
        return some(rng, DIGITS, 1, 8)
    if kind == "money":
        return _money(rng)
    if kind == "code":
        joint = rng.choice(("-", "", "", "#", "/", ".", "_"))
        return (
            some(rng, UPPER, 1, 4) + joint + some(rng, DIGITS, 2, 6) + (joint + some(rng, DIGITS, 1, 3)) * _maybe(rng)
        )
    if kind == "date":
        return _date(rng)
    if kind == "mark":
        return rng.choice("#+$€£-()") + some(rng, DIGITS, 1, 4) + rng.choice(("%", "", ":", ",", ".", ")"))
    if kind == "name":
        joint = rng.choice(("-", "'", "’", " "))
        tail = joint + some(rng, UPPER, 1, 1) + some(rng, LOWER, 2, 7)
        end = rng.choice(("", "", "", ":", " :", ",", "."))
        return some(rng, UPPER, 1, 1) + some(rng, LOWER, 1, 9) + tail * _maybe(rng) + end
    if kind == "word":
        return some(rng, LOWER, 1, 10)
    if kind == "upper":
        return some(rng, UPPER, 1, 8)
    if kind == "accented":
        chars = LOWER + 2 * ACCENTED_LOWER
        first = rng.choice(UPPER + LOWER + ACCENTED_UPPER)
        return some(rng, UPPER + ACCENTED_UPPER, 2, 7) if rng.random() < 0.25 else first + some(rng, chars, 1, 8)
    return some(rng, DIGITS + UPPER + LOWER, 2, 9) if kind == "mixed" else some(rng, MARKS, 1, 3)


def _money(rng: random.Random) -> str:
    whole, cents = rng.randrange(10 ** rng.randint(1, 6)), f"{rng.randrange(100):02d}"
    grouping, point = rng.choice(((",", "."), (".", ","), (" ", ","), ("'", "."), ("", "."), ("", ","), ("", ".")))
    amount = f"{whole:,}".replace(",", grouping) + point + cents
    before = rng.choice(("", "", "$", "€", "£", "EUR ", "USD ", "CHF "))
    return before + amount + ("" if before else rng.choice(("", "", " €", " EUR", " kr", " CHF", " zł")))


def _date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 31), rng.randint(1, 12), str(rng.randint(1950, 2099))
    named = rng.choice(_MONTHS)
    joint = rng.choice("-/.")
    forms = (
        f"{year}-{month:02d}-{day:02d}",
        f"{day:02d}{joint}{month:02d}{joint}{year}",
        f"{day}{joint}{month}{joint}{year[2:]}",
        f"{day:02d} {named} {year}",
        f"{day}. {named} {year}",
        f"{named} {day}, {year}",
    )
    return rng.choice(forms)


def _maybe(rng: random.Random) -> int:
    return int(rng.random() < 0.25)
