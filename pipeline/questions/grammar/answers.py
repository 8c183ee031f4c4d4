"""Makes the expression of all answers that a question's type can have, and says which types have one.

It allows what people write in any country, whatever the locale: what stands on the page must not become impossible. The
reader of the value (:mod:`pipeline.questions.values`) decides what it means. An answer that the page does not say is
always allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.questions.grammar.pieces import either, literal, maybe, words
from pipeline.questions.no_answer import NOT_ANSWERABLE
from pipeline.questions.values import NO, YES

_ENTRIES = ("integer", "number", "money", "date", "boolean")
CONSTRAINED = (*_ENTRIES, "choice")
"""Types whose answers have an expression; ``list`` has one too, if its entries have."""


def constraint_of(kind: str, items: str | None = None) -> str | None:
    """Name the limits of the answers to a question, which are equal where the names are; ``None`` for none.

    Args:
        kind: type of the question.
        items: type of the entries of a ``list``.
    """
    if kind == "list":
        return f"list of {items}" if items in _ENTRIES else None
    return kind if kind in CONSTRAINED else None


def answer_expression(kind: str, items: str | None = None, choices: Sequence[str] = ()) -> str | None:
    """Return the expression of all answers to a question; ``None`` where every text is one.

    Args:
        kind: type of the question.
        items: type of the entries of a ``list``.
        choices: choices of a ``choice``.
    """
    if constraint_of(kind, items) is None:
        return None
    if kind == "choice":
        said = either(*(literal(" ".join(choice.split())) for choice in choices))
    elif kind == "list":
        said = _list(_EXPRESSIONS[str(items)](True))
    else:
        said = _EXPRESSIONS[kind](False)
    return either(said, words(sorted(NOT_ANSWERABLE)))


def _list(entry: str) -> str:
    bullet = maybe("[-*\u2022] ")
    return f"{bullet}{entry}(?:(?:, |; | and |\n{bullet}){entry})*"


def _integer(in_list: bool) -> str:
    from pipeline.questions.grammar.numbers import number

    return number(decimals=False)


def _number(in_list: bool) -> str:
    from pipeline.questions.grammar.numbers import number

    return number(decimals=True)


def _money(in_list: bool) -> str:
    from pipeline.questions.grammar.money import money

    return money()


def _date(in_list: bool) -> str:
    from pipeline.questions.grammar.dates import dates

    return dates(commas=not in_list)


def _boolean(in_list: bool) -> str:
    return words(sorted(YES | NO))


_EXPRESSIONS: Mapping[str, Callable[[bool], str]] = {
    "integer": _integer,
    "number": _number,
    "money": _money,
    "date": _date,
    "boolean": _boolean,
}
