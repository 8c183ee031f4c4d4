"""Writes the list of answers that the DocVQA challenges take: ``questionId`` and ``answer``.

Questions of such a set are asked of one document each, under their number. Other questions are named after the document
too, since one of them has many answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.output.export.base import Column, Exporter, Row


def write(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> list[str]:
    """Write a file.

    Args:
        path: file to write.
        rows: the rows.
        columns: not used; the format has two names of its own.

    Raises:
        UsageError: a question that is called by a number is asked of several documents.
    """
    seen: set[int] = set()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for number, row in enumerate(rows):
            name: int | str = f"{row['document']}#{row['question_id']}"
            if row["question_id"].isdecimal():
                name = int(row["question_id"])
                if name in seen:
                    raise UsageError(
                        f"question {name} is asked of several documents, so it has no single answer; give it the one "
                        "document that it is about, or an id that is no number"
                    )
                seen.add(name)
            entry = {"questionId": name, "answer": _answer(row)}
            file.write(("\n" if number == 0 else ",\n") + json.dumps(entry, ensure_ascii=False))
        file.write("\n]\n")
    return []


def _answer(row: Row) -> str:
    """Return the answer; what was not answered is empty, which is never right."""
    return row["answer"] or "" if row["status"] in ("answered", "needs_review") else ""


EXPORTER = Exporter(write, levels=("documents",))
