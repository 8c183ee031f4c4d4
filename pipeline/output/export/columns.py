"""Defines the columns of a sheet: about a dozen of the many that the tables have."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pipeline.output.export.base import Cell, Column, Level, Row

ROW, REVIEWED, COMMENT, REVIEWER = "row", "reviewed_answer", "comment", "reviewer"
"""Columns of a review sheet that are read back."""


def row_name(row: Row) -> str:
    """Name a row for a review sheet, by page and unit; it begins with a letter, so no program takes it for a number."""
    return f"p{row['page']}-{row['unit_id']}"


def sheet_columns(level: Level) -> list[Column]:
    """List the columns of an export.

    Args:
        level: ``documents`` or ``pages``.
    """
    why = [Column("chosen_by", _named("chosen_by"))] if level == "documents" else []
    return [
        *_WHERE,
        Column("status", _named("status")),
        Column("answer", _named("answer")),
        Column("value", value_of),
        Column("currency", _named("value_currency")),
        *_SEEN,
        *_WHY,
        *why,
        Column("reviewed", _named("reviewed")),
        Column("document_id", _named("document_id")),
    ]


def review_columns(texts: Mapping[str, str]) -> list[Column]:
    """List the columns of a review sheet.

    Args:
        texts: text of each question, by its id.
    """
    return [
        *_WHERE,
        Column("asked", lambda row: on_one_line(texts.get(row["question_id"]))),
        Column("answer", lambda row: on_one_line(row["answer"])),
        *_SEEN,
        *_WHY,
        Column(REVIEWED, _nothing, to_fill_in=True),
        Column(COMMENT, _nothing, to_fill_in=True),
        Column(REVIEWER, _nothing, to_fill_in=True),
        Column(ROW, row_name),
    ]


def value_of(row: Row) -> Cell:
    """Return what an answer stands for as a number, a date, a truth value or text; a list is JSON.

    Args:
        row: an answer.
    """
    if row["value"] is None:
        return None
    if row["value_date"] is not None:
        return row["value_date"]  # type: ignore[no-any-return]
    value = json.loads(row["value"], parse_float=Decimal)
    if isinstance(value, dict):
        return Decimal(value["amount"])
    return str(row["value"]) if isinstance(value, list) else value


def best_box(row: Row) -> str | None:
    """Write the best box of the evidence as ``x0 y0 x1 y1``, in points; of several pages, behind ``p`` and its page.

    Args:
        row: an answer.
    """
    if not row["evidence"]:
        return None
    box = row["evidence"][0]
    page = [f"p{box['page']}"] if len(row["pages"]) > 1 else []
    return " ".join([*page, *(f"{box[side]:.1f}" for side in ("x0", "y0", "x1", "y1"))])


def pages_of(row: Row) -> Cell:
    """Return the page of an answer as a number, or several that were read together as the questions file writes them.

    Args:
        row: an answer.
    """
    return row["page"] if len(row["pages"] or ()) < 2 else "+".join(map(str, row["pages"]))


def on_one_line(text: str | None) -> str | None:
    """Write text without line ends, so that rows of a sheet are lines of its file.

    Args:
        text: content of a cell.
    """
    return None if text is None else " ".join(text.split())


def _named(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


def _nothing(row: Row) -> Cell:
    return None


def _reasons(row: Row) -> str | None:
    return ", ".join(row["review_reasons"] or ()) or None


_WHERE = (
    Column("document", _named("document")),
    Column("page", pages_of),
    Column("question", _named("question_id")),
)
_SEEN = (
    Column("confidence", _named("confidence")),
    Column("evidence_text", lambda row: on_one_line(row["evidence_text"])),
    Column("on_page", _named("on_page")),
    Column("box", best_box),
)
_WHY = (Column("review_reasons", _reasons), Column("value_error", _named("value_error")))
