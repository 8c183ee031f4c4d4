"""Packs the rows of the report's table into compact columns of plain data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.file_names import printable
from pipeline.records import STATUSES
from pipeline.viewing.published import Published, rows_of
from pipeline.viewing.report.compare import Changes
from pipeline.viewing.texts import model_said, others_said, reason_words, shown

MOST_ROWS = 250_000  # more take a browser long to open
_MOST_CHARACTERS = 400
_KINDS = ("", "new", "answer", "status", "gone")
_COLUMNS = (
    *("document_id", "document", "page", "pages", "question_id", "unit_id", "status", "answer", "value"),
    *(
        "value_error",
        "review_reasons",
        "confidence",
        "retention",
        "prefill_ms",
        "decode_ms",
        "evidence_text",
        "on_page",
        "other_answers",
    ),
    *("reviewed", "model_answer"),
)


class _Numbers:
    """Gives each different thing a number, in order of appearance."""

    def __init__(self, known: Iterable[Any] = ()) -> None:
        self.known: dict[Any, int] = {thing: number for number, thing in enumerate(known)}

    def of(self, thing: Any) -> int:
        return self.known.setdefault(thing, len(self.known))


def table_data(run: Published, answers: pa.Table, changes: Changes | None) -> dict[str, Any]:
    """Write the rows as lists by column, with numbers in place of texts that repeat.

    Args:
        run: what the run published.
        answers: its answers in the order of the table, at most ``MOST_ROWS``.
        changes: differences from an older run, in the same order; ``None`` without one.
    """
    paths, reasons, errors, statuses = _Numbers(), _Numbers(), _Numbers(), _Numbers(STATUSES)
    questions = {name: number for number, name in enumerate(_question_ids(run, answers, changes))}
    failed = {
        (row["unit_id"], row["page"]): f"{row['error_type']}: {row['error_message']}"
        for row in rows_of(run.failures, ("unit_id", "page", "error_type", "error_message"))
    }
    columns: dict[str, list[Any]] = {
        name: [] for name in ("document", "page", "question", "status", "answer", "confidence", "reasons", "kept", "ms")
    }
    values: dict[int, str] = {}
    reviewed: dict[int, str] = {}
    notes: dict[int, int] = {}
    printed: dict[int, str] = {}
    otherwise: dict[int, str] = {}
    together: dict[int, str] = {}
    not_on_page: list[int] = []
    for number, row in enumerate(rows_of(answers, _COLUMNS)):
        columns["document"].append(paths.of(row["document"]))
        columns["page"].append(row["page"])
        if len(row["pages"] or ()) > 1:
            together[number] = "+".join(map(str, row["pages"]))
        columns["question"].append(questions[row["question_id"]])
        columns["status"].append(statuses.of(row["status"]))
        columns["answer"].append(None if row["answer"] is None else shown(row["answer"], _MOST_CHARACTERS))
        columns["confidence"].append(_rounded(row["confidence"], 4))
        columns["reasons"].append(reasons.of(tuple(reason_words(row["review_reasons"]))))
        columns["kept"].append(_rounded(row["retention"], 4))
        times = [row[name] for name in ("prefill_ms", "decode_ms") if row[name] is not None]
        columns["ms"].append(round(sum(times)) if times else None)
        value = value_words(row["value"])
        if value is not None and value != row["answer"]:
            values[number] = value
        if row["reviewed"]:
            reviewed[number] = shown(model_said(row), _MOST_CHARACTERS)
        if row["evidence_text"] is not None and row["evidence_text"] != row["answer"]:
            printed[number] = shown(row["evidence_text"], _MOST_CHARACTERS)
        others = others_said(row)
        if others is not None:
            otherwise[number] = shown(others, _MOST_CHARACTERS)
        if row["on_page"] is False:
            not_on_page.append(number)
        error = failed.get((row["unit_id"], row["page"])) if row["status"] == "failed" else row["value_error"]
        if error:
            notes[number] = errors.of(shown(error, _MOST_CHARACTERS))
    data: dict[str, Any] = {
        "values": values,
        "reviewed": reviewed,
        "notes": notes,
        "printed": printed,
        "otherwise": otherwise,
    }
    data["not_on_page"], data["together"] = not_on_page, together
    if changes is not None:
        columns["change"] = [_KINDS.index(kind) for kind in changes.kinds[: len(answers)]]
        data["before"] = {number: _before(was) for number, was in changes.before.items() if number < len(answers)}
        for row in changes.gone[: MOST_ROWS - len(answers)]:
            gone = {
                "document": paths.of(row["document"]),
                "page": row["page"],
                "question": questions[row["question_id"]],
            }
            gone |= {
                "status": statuses.of(row["status"]),
                "answer": _before(row)["answer"],
                "change": _KINDS.index("gone"),
            }
            gone["reasons"] = reasons.of(())
            for name, column in columns.items():
                column.append(gone.get(name))
    names = list(questions)
    return {
        **data,
        "columns": columns,
        "documents": [printable(shown(path, _MOST_CHARACTERS)) for path in paths.known],
        "questions": [{"id": name, "text": shown(run.questions.get(name, ""), _MOST_CHARACTERS)} for name in names],
        "reasons": [list(words) for words in reasons.known],
        "errors": list(errors.known),
        "statuses": list(statuses.known),
        "kinds": list(_KINDS),
    }


def _question_ids(run: Published, answers: pa.Table, changes: Changes | None) -> list[str]:
    """List the questions in the order of the questions file, then those that only an older run asked."""
    used = set(answers["question_id"].unique().to_pylist())
    used |= {row["question_id"] for row in changes.gone} if changes is not None else set()
    return [name for name in run.questions if name in used] + sorted(used - run.questions.keys())


def _before(row: Mapping[str, Any]) -> dict[str, Any]:
    answer = row["answer"]
    return {"status": row["status"], "answer": None if answer is None else shown(answer, _MOST_CHARACTERS)}


def _rounded(number: float | None, places: int) -> float | None:
    return None if number is None or number != number else round(number, places)  # JSON has no NaN


def value_words(value: str | None) -> str | None:
    """Write a typed value in one line.

    Args:
        value: column ``value`` of a row, JSON.
    """
    return None if value is None else _words(json.loads(value))


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_words(part) for part in value.values() if part is not None)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown(str(value), _MOST_CHARACTERS)
