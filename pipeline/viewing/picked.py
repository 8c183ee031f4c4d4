"""Picks one row of a run by what a person calls document and question."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.file_names import printable
from pipeline.viewing.published import Published
from pipeline.viewing.texts import pages_of

_MOST_NAMED = 5
_RANK = ("answered", "needs_review", "not_answerable", "failed", "skipped")


def pick_row(run: Published, document: str, question: str, page: int | None) -> dict[str, Any]:
    """Find the row of a document and a question; of several pages, the one with the best answer.

    Args:
        run: what the run published.
        document: path below the input or behind it, name, or ``document_id``.
        question: id of the question.
        page: page number, counted from 1; ``None`` for any.

    Raises:
        UsageError: no row fits, or several documents do.
    """
    document_id = _document_id(run, document)
    of_document = run.answers.filter(pc.equal(run.answers["document_id"], document_id))
    asked = of_document["question_id"].unique().to_pylist()
    if question not in asked:
        raise UsageError(f"no question {question!r} was asked of {printable(document)}; {_near(question, asked)}")
    rows = of_document.filter(pc.equal(of_document["question_id"], question)).to_pylist()
    pages = sorted(number for row in rows if row["page"] is not None for number in pages_of(row))
    if page is not None:
        rows = [row for row in rows if row["page"] is not None and page in pages_of(row)]
        if not rows:
            raise UsageError(f"--page {page}: {question!r} was asked on page {_listed(pages)} of {printable(document)}")
    return min(rows, key=_order)


def _order(row: dict[str, Any]) -> tuple[int, float, int]:
    rank = _RANK.index(row["status"]) if row["status"] in _RANK else len(_RANK)
    sureness = 1.0 if row["reviewed"] else row["confidence"] or row["confidence_raw"] or 0.0
    return rank, -sureness, row["page"] or 0


def _document_id(run: Published, name: str) -> str:
    table = run.answers.select(["document_id", "source", "document"]).group_by(["document_id", "source", "document"])
    known = table.aggregate([]).to_pylist()
    if not known:
        raise UsageError(
            f"{run.uri} has no answers yet; give its `docpipe run` command once more, which goes on where it stopped"
        )
    for fits in (_is_called, _ends_with):
        found = {row["document_id"]: row for row in known if fits(row, name)}
        if len(found) == 1:
            return str(next(iter(found)))
        if found:
            several = [f"{printable(row['document'])} ({key})" for key, row in found.items()]
            raise UsageError(
                f"{len(found)} documents are called {printable(name)}; name the path below the input, or the "
                f"document_id: {_listed(several)}"
            )
    raise UsageError(f"no document {printable(name)} among the {len(known)} of {run.uri}; {_near(name, _paths(known))}")


def _is_called(row: dict[str, Any], name: str) -> bool:
    path = row["document"]
    return name in (path, row["document_id"], printable(path), f"{row['source'].rstrip('/')}/{path}")


def _ends_with(row: dict[str, Any], name: str) -> bool:
    return str(row["document"]).endswith(f"/{name}")


def _paths(rows: list[dict[str, Any]]) -> list[str]:
    return [row["document"] for row in rows]


def _near(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, _MOST_NAMED) or sorted(known)
    return f"there is {_listed([printable(one) for one in near])}"


def _listed(things: list[Any]) -> str:
    named = ", ".join(map(str, things[:_MOST_NAMED]))
    return f"{named} and {len(things) - _MOST_NAMED} more" if len(things) > _MOST_NAMED else named
