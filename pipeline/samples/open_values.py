"""Values in open forms: names of any language, codes of any shape, dates and amounts of several countries."""

from __future__ import annotations

import random
from collections.abc import Callable

from pipeline.samples.held_out_words import WordLists

DIGITS, UPPER, LOWER = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
MONTHS = (
    "January February March April May June July August September October November December",
    "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
)
_ONSETS = "b bl br c ch d dr f fl g gr h j k kl kr l m n p pl pr qu r s sch sk sl st str t th tr v w x z".split()
_VOWELS = "a e i o u y ai au ea ee ie oa ou ä é ö ü ø å".split()
_CODAS = " n r s l t m k nd rt st ck ng x p ff lt".split(" ")
_UNITS = ("kg", "kg", "g", "t", "lbs", "lb", "oz")
LONGEST = 26  # characters of a value


def pronounceable(rng: random.Random, low: int = 4, high: int = 10) -> str:
    """A word that no language has, in lower case."""
    length, text = rng.randint(low, high), ""
    while len(text) < length:
        text += rng.choice(_ONSETS) + rng.choice(_VOWELS[:13] if rng.random() < 0.85 else _VOWELS) + rng.choice(_CODAS)
    return text[:length]


def name_word(rng: random.Random, listed: tuple[str, ...]) -> str:
    """One word of a name: mostly listed, at times invented, at times letters by chance, in any case."""
    chance = rng.random()
    if chance < 0.6:
        word = rng.choice(listed)
    elif chance < 0.9:
        word = pronounceable(rng).capitalize()
    else:
        word = "".join(rng.choices(LOWER, k=rng.randint(3, 9))).capitalize()
    if rng.random() < 0.06:
        word += rng.choice("-'’") + pronounceable(rng, 3, 6).capitalize()
    case = rng.random()
    return word.upper() if case < 0.1 else word.lower() if case < 0.13 else word


def open_person(rng: random.Random, words: WordLists) -> str:
    """A person: first and last name in either order, at times with a title, an initial or a second name."""
    first, last = name_word(rng, words.first_names), name_word(rng, words.last_names)
    form = rng.random()
    if form < 0.1:
        return f"{last}, {first}"
    if form < 0.2:
        return f"{first[0].upper()}. {last}"
    if form < 0.28:
        return f"{first} {rng.choice(UPPER)}. {last}"
    if form < 0.36:
        return f"{rng.choice(('Mr', 'Ms', 'Dr.', 'Herr', 'Frau', 'Mme', 'Sr.'))} {last}"
    return f"{first} {last}"


def open_company(rng: random.Random, words: WordLists) -> str:
    """A company of one to three words, mostly with a legal form."""
    name = name_word(rng, words.company_words)
    if rng.random() < 0.25:
        name += f"{rng.choice((' & ', ' ', ' ', '-', '+'))}{name_word(rng, words.company_words)}"
    return f"{name} {rng.choice(words.company_suffixes)}" if rng.random() < 0.8 else name


def open_code(rng: random.Random) -> str:
    """A code: letters and digits in any order, with any mark between."""
    form = rng.random()
    if form < 0.2:
        return rng.choice(("", "#", "No. ", "Nr. ")) + _digits(rng, rng.randint(3, 10))
    if form < 0.4:
        return "".join(rng.choices(UPPER + DIGITS, k=rng.randint(5, 11)))
    joint = rng.choice(("-", "-", "", "/", ".", " ", "_", "#"))
    parts = ["".join(rng.choices(UPPER, k=rng.randint(1, 4))), _digits(rng, rng.randint(2, 7))]
    if rng.random() < 0.35:
        parts.append(_digits(rng, rng.randint(1, 4)))
    if rng.random() < 0.15:
        parts.append(rng.choice(UPPER))
    if rng.random() < 0.12:
        parts.insert(0, str(rng.randint(1990, 2035)))
    code = joint.join(parts)
    return code.lower() if rng.random() < 0.05 else code


def open_date(rng: random.Random) -> str:
    """A date of 1950 to 2099 in one of many forms."""
    year, month, day = rng.randint(1950, 2099), rng.randint(1, 12), rng.randint(1, 31)
    joint = rng.choice("-/.")
    named = rng.choice(MONTHS).split()[month - 1]
    named = named.upper() if rng.random() < 0.08 else named
    return rng.choice(
        (
            f"{year}-{month:02d}-{day:02d}",
            f"{day:02d}{joint}{month:02d}{joint}{year}",
            f"{month:02d}/{day:02d}/{year}",
            f"{day:02d}{joint}{month:02d}{joint}{year % 100:02d}",
            f"{day}{joint}{month}{joint}{year}",
            f"{day:02d} {named} {year}",
            f"{day}. {named} {year}",
            f"{named} {day}, {year}",
            f"{day}-{named[:3]}-{year}",
        )
    )


def open_money(rng: random.Random) -> str:
    """An amount up to a million, as one of several countries prints it."""
    whole, cents = rng.randrange(10 ** rng.randint(1, 6)), f"{rng.randrange(100):02d}"
    grouping, point = rng.choice(((",", "."), (",", "."), (".", ","), (".", ","), (" ", ","), ("'", "."), ("", ".")))
    amount = f"{whole:,}".replace(",", grouping) + point + cents
    amount = ("-" if rng.random() < 0.04 else "") + amount
    form = rng.random()
    if form < 0.35:
        return amount
    if form < 0.7:
        return rng.choice(("$", "$", "€", "£", "EUR ", "USD ", "CHF ", "GBP ", "€ ", "$ ")) + amount
    return amount + rng.choice((" €", " €", "€", " EUR", " CHF", " USD", " kr", " zł", " £"))


def open_phone(rng: random.Random) -> str:
    """A telephone number in groups."""
    groups = [_digits(rng, rng.randint(2, 4)) for _ in range(rng.randint(2, 4))]
    joint = rng.choice((" ", " ", "-", ".", "/"))
    head = rng.choice((f"+{rng.randint(1, 999)} ", f"+{rng.randint(10, 99)} ", "0", f"({_digits(rng, 3)}) ", "00"))
    return head + joint.join(groups)


def open_zip(rng: random.Random) -> str:
    """A postal code of some country."""
    a, b = (rng.choice(UPPER) for _ in range(2))
    return rng.choice(
        (
            _digits(rng, 5),
            _digits(rng, 4),
            f"{_digits(rng, 5)}-{_digits(rng, 4)}",
            f"{a}{b}{rng.randint(1, 99)} {rng.randint(1, 9)}{b}{a}",
            f"{_digits(rng, 2)}-{_digits(rng, 3)}",
            f"{_digits(rng, 4)} {a}{b}",
            f"{a}-{_digits(rng, 5)}",
        )
    )


def open_number(rng: random.Random) -> str:
    """A count, at times with decimals or a unit."""
    number = str(rng.randrange(10 ** rng.randint(1, 5)))
    return number + rng.choice(("", "", "", ".0", ",5", " pcs", " x", " Stk", " h"))


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(DIGITS, k=count))


def _decimal(rng: random.Random, highest: int) -> str:
    whole = str(rng.randint(0, highest))
    return whole if rng.random() < 0.5 else whole + rng.choice(".,") + _digits(rng, rng.randint(1, 2))


def _weight(rng: random.Random) -> str:
    return _decimal(rng, 9999) + rng.choice((" ", " ", "")) + rng.choice(_UNITS)


def _percent(rng: random.Random) -> str:
    return _decimal(rng, 100) + rng.choice(("%", "%", " %"))


def _city(rng: random.Random, words: WordLists) -> str:
    return name_word(rng, words.cities)


def _item(rng: random.Random, words: WordLists) -> str:
    name = name_word(rng, words.items)
    form = rng.random()
    if form < 0.2:
        return f"{name} {name_word(rng, words.items)}"
    return f"{name} {rng.choice(UPPER)}{_digits(rng, rng.randint(1, 3))}" if form < 0.4 else name


def _customer(rng: random.Random, words: WordLists) -> str:
    return open_person(rng, words) if rng.random() < 0.5 else open_company(rng, words)


Draw = Callable[[random.Random, WordLists], str]


def _plain(draw: Callable[[random.Random], str]) -> Draw:
    return lambda rng, _: draw(rng)


KINDS: dict[str, Draw] = {
    "code": _plain(open_code),
    "date": _plain(open_date),
    "money": _plain(open_money),
    "phone": _plain(open_phone),
    "zip": _plain(open_zip),
    "number": _plain(open_number),
    "weight": _plain(_weight),
    "percent": _plain(_percent),
    "digits": _plain(lambda rng: _digits(rng, rng.randint(5, 14))),
    "person": open_person,
    "company": open_company,
    "customer": _customer,
    "city": _city,
    "item": _item,
}
KIND_OF_FIELD = {
    "invoice_no": "code", "date": "date", "due_date": "date", "total": "money", "subtotal": "money", "tax": "money",
    "customer": "customer", "vendor": "company", "phone": "phone", "city": "city", "order_id": "code", "item": "item",
    "qty": "number", "zip": "zip", "contact": "person", "weight": "weight", "ref": "code", "ship_date": "date",
    "account": "digits", "discount": "percent",
}  # fmt: skip


def draw_value(rng: random.Random, kind: str, words: WordLists) -> str:
    """A value of a kind of ``KINDS``, without blanks at its ends."""
    while True:
        value = KINDS[kind](rng, words).strip()
        if 0 < len(value) <= LONGEST:
            return value
