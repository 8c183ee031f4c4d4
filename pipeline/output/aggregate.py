"""Turns the answers on a document's pages into one answer per question."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.output.schema import VALUE_COLUMNS
from pipeline.questions.no_answer import says_no_answer

_FOUND = ("answered", "needs_review")
_ASKED = ("answered", "needs_review", "not_answerable", "failed")
OF_ALL_PAGES = ("all", "list", "sum", "min", "max")
"""Rules whose result is another one if a page that was not read holds an answer."""

CHOSEN = ("status", "answer", "confidence", "page", "pages", *VALUE_COLUMNS)
"""The columns that a row of ``documents`` takes from one of the answers."""


@dataclass(slots=True)
class Choice:
    """The answer to a question about a document.

    Attributes:
        place: place of the answer that was chosen; ``None`` for none.
        chosen_by: how it was chosen.
        changes: columns of ``CHOSEN`` that are not those of the chosen answer.
        pages_asked: number of pages that the question was asked on.
    """

    place: int | None
    chosen_by: str
    changes: dict[str, Any] = field(default_factory=dict)
    pages_asked: int = 0


def aggregate(rule: str, rows: Sequence[Mapping[str, Any]]) -> Choice:
    """Choose or combine the ``answers`` to one question about one document.

    Args:
        rule: way to aggregate: ``best`` (most confident), ``first`` (lowest page), ``all`` (every different answer),
            ``list`` (every different value), ``vote`` (most frequent, the more confident on a tie), ``sum``, ``min`` or
            ``max`` (of the values, in one currency).
        rows: one or more rows with their ``place``, ``confidence_raw`` and the columns of ``CHOSEN``; of those of the
            value, ``sum``, ``min`` and ``max`` need more than ``value``.

    Returns:
        The choice. Without an answer on any page, the status is ``needs_review`` if one page has to be looked at for
        it, ``not_answerable`` if at least one was read, else that of the first row. Pages that were skipped do not
        count as asked, and ``chosen_by`` says how many there are. What is made of all answers needs review where a
        page failed or was skipped, since that page may hold one more; ``chosen_by`` says so.
    """
    asked = [row for row in rows if row["status"] in _ASKED]
    choice = _aggregated(rule, rows)
    choice.pages_asked = sum(len(row["pages"] or (None,)) for row in asked)
    failed = sum(row["status"] == "failed" for row in rows)
    skipped = len(rows) - len(asked)
    if choice.place is not None and rule in OF_ALL_PAGES:
        if failed or skipped:
            choice.changes["status"] = "needs_review"
        if failed:
            choice.chosen_by += f", {_pages(failed)} failed"
    if skipped:
        choice.chosen_by += f", {_pages(skipped)} skipped"
    return choice


def _pages(count: int) -> str:
    return "1 page" if count == 1 else f"{count} pages"


def made_of(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the answers that an aggregate is made of; without any, those that say that the page does not tell.

    Args:
        rows: ``answers`` to one question about one document.
    """
    return _answers(rows) or [row for row in rows if row["status"] == "not_answerable"]


def to_correct(rule: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows that keep an aggregate from being certain, though none of them needs review by itself.

    Those of skipped pages are left out: they may be most of a document, and are to be read by a model first.

    Args:
        rule: way to aggregate, as in :func:`aggregate`.
        rows: ``answers`` to one question about one document.
    """
    if rule not in OF_ALL_PAGES:
        return []
    found = _answers(rows)
    differ = rule in ("sum", "min", "max") and len({row["value_currency"] for row in found}) > 1
    apart = {id(row) for row in found} if differ else set[int]()
    return [row for row in rows if row["status"] == "failed" or id(row) in apart]


def _answers(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["status"] in _FOUND and not _is_none(row)]


def _aggregated(rule: str, rows: Sequence[Mapping[str, Any]]) -> Choice:
    found = _answers(rows)
    if not found:
        known = ("needs_review", "not_answerable")
        status = next((one for one in known if any(row["status"] == one for row in rows)), rows[0]["status"])
        return Choice(None, f"{rule}: no answer on any page", {"status": status})
    found.sort(key=lambda row: row["page"])
    # An answer that needs review ranks below every answer that does not.
    sure = _sureness(found)
    best = max(found, key=lambda row: (row["status"] == "answered", sure(row), -row["page"]))
    if rule == "first":
        return Choice(found[0]["place"], f"first of {len(found)} answers")
    if rule == "vote":
        return _vote(found, sure)
    if rule in ("all", "list"):
        return _all(rule, found, best)
    if rule in ("sum", "min", "max"):
        return _of_values(rule, found, best)
    return Choice(best["place"], f"most confident of {len(found)} answers")


def _is_none(row: Mapping[str, Any]) -> bool:
    """Tell whether an answer that needs review says that the page does not tell; such an answer has no value."""
    return row["value"] is None and says_no_answer(row["answer"] or "")


def _sureness(rows: Sequence[Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], float]:
    """Return what ranks the answers: their confidence, or, unless all have one, what the model says of itself."""
    name = "confidence_raw" if any(row["confidence"] is None for row in rows) else "confidence"
    return lambda row: row[name] or 0.0


def _of_all(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Begin a row that is made of all answers: it is right if each of them is, as if one said nothing of another."""
    shares = [row["confidence"] for row in found]
    confidence = None if None in shares else math.prod(shares)
    return {**dict.fromkeys(("answer", "page", "pages", *VALUE_COLUMNS)), "confidence": confidence}


def _vote(found: Sequence[Mapping[str, Any]], sure: Callable[[Mapping[str, Any]], float]) -> Choice:
    def key(row: Mapping[str, Any]) -> str:
        return str(row["value"] if row["value"] is not None else row["answer"].strip().casefold())

    votes = Counter(key(row) for row in found)
    winner = max(found, key=lambda row: (votes[key(row)], sure(row), -row["page"]))
    return Choice(winner["place"], f"{votes[key(winner)]} of {len(found)} votes")


def _all(rule: str, found: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> Choice:
    """List the different answers, or the different values; without a value on some page the list needs review."""
    answers = list(dict.fromkeys(row["answer"] for row in found))
    merged = {**_of_all(found), "answer": json.dumps(answers, ensure_ascii=False)}
    if rule == "all":
        return Choice(best["place"], f"all {len(answers)} different answers", merged)
    values = list(dict.fromkeys(row["value"] for row in found if row["value"] is not None))
    merged["value"] = "[" + ", ".join(values) + "]"
    if any(row["value"] is None or row["status"] == "needs_review" for row in found):
        merged["status"] = "needs_review"
    return Choice(best["place"], f"all {len(values)} different values", merged)


def _of_values(rule: str, found: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> Choice:
    """Add the values up exactly, or take the least or the largest; it needs review if one of them does."""
    column = "value_number" if all(row["value_date"] is None for row in found) else "value_date"
    values = [row[column] for row in found if row[column] is not None]
    review = {**_of_all(found), "status": "needs_review"}
    if len(values) != len(found):
        lacking = len(found) - len(values)
        return Choice(best["place"], f"{rule}: {lacking} of {len(found)} answers have no {_NOUNS[column]}", review)
    currencies = {row["value_currency"] for row in found}
    if len(currencies) > 1:
        named = ", ".join(sorted(str(currency or "none") for currency in currencies))
        return Choice(best["place"], f"{rule}: the amounts are in several currencies: {named}", review)
    done = Choice(best["place"], f"{rule} of {len(found)} answers")
    if rule == "sum":
        total = sum(values)
        (currency,) = currencies
        done.changes = _of_all(found) | _total(total, currency, is_money=found[0]["value"].startswith("{"))
    else:
        wanted = (min if rule == "min" else max)(values)
        done.place = next(row["place"] for row in found if row[column] == wanted)
    if any(row["status"] == "needs_review" for row in found):
        done.changes["status"] = "needs_review"
    return done


_NOUNS = {"value_number": "number", "value_date": "date"}


def _total(total: Any, currency: str | None, is_money: bool) -> dict[str, Any]:
    """Write a sum as an answer and as a value; zeros behind the decimals come from the column, not from the page."""
    text = format(total.normalize(), "f")
    if not is_money:
        return {"answer": text, "value": text, "value_number": total}
    amount = text if "." not in text or len(text.partition(".")[2]) > 1 else f"{text}0"
    answer = amount if currency is None else f"{amount} {currency}"
    value = json.dumps({"amount": amount, "currency": currency})
    return {"answer": answer, "value": value, "value_number": total, "value_currency": currency}
