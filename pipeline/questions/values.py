"""Turns an answer into the value that it stands for, by the type of its question."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pipeline.questions.choices import find_choice
from pipeline.questions.parsing.no_value import NoValue

if TYPE_CHECKING:
    from pipeline.questions.parsing.locales import Customs

ItemType = Literal["text", "integer", "number", "money", "date", "boolean", "iban", "vat", "email", "phone"]
AnswerType = Literal[ItemType, "choice", "list"]

YES = frozenset(
    "yes y true si sì sí oui ja jo da tak sim ano igen evet kyllä joo да 是 はい 예 네 ✓ ✔ ☑ checked".split()
)
NO = frozenset(
    "no n false non nein nee nej nei nie não nao ne nem hayır ei нет 否 いいえ 아니요 ✗ ✘ ☐ unchecked".split()
)
_READERS_VERSION = 2
"""To be raised where an answer may get another value than before, so that published ones are read again."""

_PERCENT = re.compile(r"\s*%\s*$")
_BULLET = re.compile(r"^\s*(?:[-*–—•]\s+)+")
_QUOTES = "\"'“”„‟‘’«»‹›`"
_BETWEEN = re.compile(r"\s*(?:\n|;|•|·(?=\s)|,\s|\s+(?:and|und|et|y|e|og|och|en)\s+)\s*")


@dataclass(frozen=True, slots=True)
class Value:
    """A typed value; the column of its kind is filled, the others are ``None``.

    Attributes:
        json: the value as JSON: a number, a text, ``true``, a date as text, or
            ``{"amount": "1234.50", "currency": "EUR"}``.
        number: a number, or an amount.
        currency: ISO code of an amount.
        date: a date.
        text: a text, such as a choice or an IBAN.
        boolean: a yes or no.
    """

    json: str
    number: Decimal | None = None
    currency: str | None = None
    date: date | None = None
    text: str | None = None
    boolean: bool | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How the answers to a question are read, once the model has given them.

    Attributes:
        kind: type of the question.
        locale: declared locale, such as ``de_CH``; ``None`` for none.
        items: type of the entries of a ``list``.
        choices: choices of a ``choice``.
        aggregate: how the answers on a document's pages become one.
        review_below: confidence below which an answer needs review, in 0..1; ``None`` does not say.
    """

    kind: AnswerType = "text"
    locale: str | None = None
    items: ItemType | None = None
    choices: tuple[str, ...] = ()
    aggregate: str = "best"
    review_below: float | None = None

    @property
    def signature(self) -> str:
        """Tell by equality whether the same answers have the same values and need review alike."""
        return _dumps([self.kind, self.locale, self.items, sorted(self.choices), self.review_below, _READERS_VERSION])

    @classmethod
    def of_signature(cls, signature: str) -> Reading:
        """Make a reading that gives the same values."""
        kind, locale, items, choices, review_below, *_ = json.loads(signature)
        return cls(kind, locale, items, tuple(choices), review_below=review_below)

    def value_of(self, answer: str) -> Parsed:
        """Find the value of an answer."""
        return parse_value(answer, self.kind, self.locale, self.choices, self.items)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an answer stands for, and what is doubtful about it; at least one of the two is there.

    Attributes:
        value: the value.
        error: why there is none, or why it is doubtful.
        instead: texts that each say without doubt one of the things that the answer may mean, where these are known.
    """

    value: Value | None
    error: str | None = None
    instead: tuple[str, ...] = ()


def parse_value(
    answer: str, kind: str, locale: str | None = None, choices: Sequence[str] = (), items: str | None = None
) -> Parsed:
    """Find the value of an answer.

    Args:
        answer: answer of the model.
        kind: type of the question.
        locale: declared locale, such as ``de_CH``; ``None`` for none.
        choices: choices of a question of type ``choice``.
        items: type of the items of a ``list``.
    """
    text = stripped(answer)
    try:
        customs = None if locale is None else _customs(locale)
        if kind == "choice":
            return Parsed(_choice(answer, choices))
        if kind == "list":
            return _list(answer, items or "text", customs)
        return _READERS[kind](text, customs)
    except NoValue as error:
        return Parsed(None, str(error), error.instead)


def stripped(answer: str) -> str:
    """Return an answer without the blanks, the pair of quotation marks and the full stop around it."""
    text = _unquoted(" ".join(answer.split()))
    return _unquoted(text[:-1].rstrip()) if re.search(r"[^.\s]\.$", text) and not _ends_short(text) else text


def _unquoted(text: str) -> str:
    while len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        text = text[1:-1].strip()
    return text


def _ends_short(text: str) -> bool:
    """Tell whether a full stop belongs to an abbreviation, such as ``kr.`` or ``a.m.``."""
    return re.search(r"[\s\d][^\W\d]{1,4}\.$|\.[^\W\d]\.$|-\.$", text) is not None


def _customs(locale: str) -> Customs:
    from pipeline.questions.parsing.locales import customs_of

    return customs_of(locale)


def _choice(answer: str, choices: Sequence[str]) -> Value:
    choice = find_choice(answer, choices)
    if choice is None:
        raise NoValue(f"expected one of {', '.join(choices)}, found {answer!r}")
    return Value(_dumps(choice), text=choice)


def _text(text: str, customs: Customs | None) -> Parsed:
    return Parsed(Value(_dumps(text), text=text))


def _number(text: str, customs: Customs | None, decimals: int | None = None) -> Parsed:
    from pipeline.questions.parsing.numbers import read_number

    number = read_number(_PERCENT.sub("", text), customs, decimals)
    return Parsed(Value(_decimal(number), number=number))


def _money(text: str, customs: Customs | None) -> Parsed:
    from pipeline.questions.parsing.money import read_money

    money = read_money(text, customs)
    raw = {"amount": _decimal(money.amount), "currency": money.currency}
    error = None
    if money.shared_sign is not None:
        decider = "a locale such as en_US would decide"
        if customs is not None:
            decider = f"the locale {customs.locale} does not decide"
        error = f"several currencies are written {money.shared_sign!r}; {decider}"
    return Parsed(Value(_dumps(raw), number=money.amount, currency=money.currency), error, money.instead)


def _date(text: str, customs: Customs | None) -> Parsed:
    from pipeline.questions.parsing.dates import read_date

    found = read_date(text, customs)
    return Parsed(Value(_dumps(found.isoformat()), date=found))


def _boolean(text: str, customs: Customs | None) -> Parsed:
    word = text.casefold()
    if word not in YES | NO:
        raise NoValue(f"expected yes or no, found {text!r}")
    return Parsed(Value(_dumps(word in YES), boolean=word in YES))


def _code(name: str) -> Callable[[str, Customs | None], Parsed]:
    def read(text: str, customs: Customs | None) -> Parsed:
        from pipeline.questions.parsing import codes

        found: str = getattr(codes, f"read_{name}")(text, customs)
        return Parsed(Value(_dumps(found), text=found))

    return read


def list_items(answer: str) -> list[str]:
    """Divide an answer into the items of the list that it is, without their bullets."""
    return [item for item in (stripped(_BULLET.sub("", part)) for part in _BETWEEN.split(answer.strip())) if item]


def says_yes_or_no(answer: str) -> bool:
    """Tell whether an answer is only a yes or a no, in one of many languages."""
    return stripped(answer).casefold() in YES | NO


def _list(answer: str, items: str, customs: Customs | None) -> Parsed:
    parts = list_items(answer)
    if not parts:
        raise NoValue("expected a list, found nothing")
    parsed = [_entry(part, items, customs) for part in parts]
    values = [one.value for one in parsed if one.value is not None]
    doubtful = [one for one in parsed if one.error is not None]
    if not doubtful:
        return Parsed(Value(_joined(values)))
    instead: tuple[str, ...] = ()
    if all(one.instead for one in doubtful):
        instead = ("; ".join(one.instead[0] if one.error else part for part, one in zip(parts, parsed, strict=True)),)
    if len(values) < len(parsed):
        return Parsed(None, next(one.error for one in doubtful if one.value is None), instead)
    return Parsed(Value(_joined(values)), doubtful[0].error, instead)


def _entry(part: str, items: str, customs: Customs | None) -> Parsed:
    try:
        return _READERS[items](part, customs)
    except NoValue as error:
        return Parsed(None, str(error), error.instead)


def _joined(values: Sequence[Value]) -> str:
    return "[" + ", ".join(value.json for value in values) + "]"


def _decimal(number: Decimal) -> str:
    return format(number, "f")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_READERS: Mapping[str, Callable[[str, Customs | None], Parsed]] = {
    "text": _text,
    "integer": partial(_number, decimals=0),
    "number": _number,
    "money": _money,
    "date": _date,
    "boolean": _boolean,
    **{name: _code(name) for name in ("iban", "vat", "email", "phone")},
}
