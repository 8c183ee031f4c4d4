"""Adds the typed values to published answers, by the present types of their questions.

A part keeps the answers as they came. So a question may get another type or locale at any time, and nothing is computed
again but the values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pyarrow as pa

from pipeline.output.schema import ANSWERS, VALUE_COLUMNS
from pipeline.questions.no_answer import says_no_answer
from pipeline.questions.values import Parsed, Reading, Value

READINGS = "readings"
"""Footer entry of a file of ``answers``: the signature of each question's reading, as JSON."""
_SCALE = Decimal(1).scaleb(-ANSWERS.field("value_number").type.scale)
_WHOLE_DIGITS = ANSWERS.field("value_number").type.precision - ANSWERS.field("value_number").type.scale
_READ = ("answered", "needs_review")
_ADDED = ("value", "confidence")  # reasons for review that parts do not have
_FALLBACK = Reading()


def with_values(rows: pa.Table, readings: Mapping[str, Reading]) -> pa.Table:
    """Add the columns of the values, and let answers without a value need review.

    A review for its confidence, which an earlier publication asked for, is taken back.

    Args:
        rows: answers, with the columns that a part holds; more are replaced.
        readings: how to read the answers, by question id; those of other questions are text.
    """
    known: dict[tuple[str, str], int] = {}  # place among the different ones
    different = [Parsed(None)]
    places, statuses, reviews = [], list[str](), list[list[str]]()
    asked = (rows[name].to_pylist() for name in ("question_id", "answer", "status", "review_reasons"))
    for question, answer, status, reasons in zip(*asked, strict=True):
        place, usable = 0, "answered"
        if answer is not None and status in _READ:
            reading = readings.get(question, _FALLBACK)
            if status == "needs_review" and says_no_answer(answer, reading.choices):
                usable = "not_answerable"
            elif answer:
                place = known.setdefault((question, answer), len(different))
                if place == len(different):
                    different.append(reading.value_of(answer))
        mine = [reason for reason in reasons if reason not in _ADDED] if reasons else []
        if different[place].error is not None:
            mine.append("value")
        places.append(place)
        reviews.append(mine)
        statuses.append(("needs_review" if mine else usable) if status in _READ else status)
    spread = [value_columns(parsed.value) | {"value_error": parsed.error} for parsed in different]
    taken = pa.array(places, pa.int64())
    made = {name: _array([one[name] for one in spread], name).take(taken) for name in spread[0]}
    return with_columns(rows, {"status": statuses, "review_reasons": reviews, **made})


def with_columns(rows: pa.Table, columns: Mapping[str, Sequence[Any] | pa.Array]) -> pa.Table:
    """Add columns of ``answers`` to its rows, or replace those that are there."""
    for name, values in columns.items():
        array, place = _array(values, name), rows.schema.get_field_index(name)
        rows = rows.append_column(name, array) if place < 0 else rows.set_column(place, name, array)
    return rows


def _array(values: Sequence[Any] | pa.Array, name: str) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, ANSWERS.field(name).type)


def signatures(rows: pa.Table, readings: Mapping[str, Reading]) -> str:
    """Say in JSON how the answers of some rows are read, for the footer of their file."""
    asked = set(rows["question_id"].unique().to_pylist())
    return json.dumps({name: readings.get(name, _FALLBACK).signature for name in sorted(asked)})


def read_otherwise(footer: Mapping[str, str], readings: Mapping[str, Reading]) -> list[str]:
    """List the questions of a file of ``answers`` that have got another type, locale or choices.

    Args:
        footer: footer of the file.
        readings: how answers are read now; a question that is not asked any more keeps its values.
    """
    then: dict[str, str] = json.loads(footer[READINGS])
    return [name for name in then if name in readings and readings[name].signature != then[name]]


def value_columns(value: Value | None) -> dict[str, Any]:
    """Spread a value over ``VALUE_COLUMNS``; without one, all are ``None``."""
    if value is None:
        return dict.fromkeys(VALUE_COLUMNS)
    number = None if value.number is None else _fitted(value.number)
    found = (value.json, number, value.currency, value.date, value.text, value.boolean)
    return dict(zip(VALUE_COLUMNS, found, strict=True))


def _fitted(number: Decimal) -> Decimal | None:
    """Round to the decimals of the column; ``None`` if it has too few digits, which ``value`` has not."""
    if number.adjusted() >= _WHOLE_DIGITS:
        return None
    with localcontext(prec=100):
        return number.quantize(_SCALE, ROUND_HALF_EVEN)
