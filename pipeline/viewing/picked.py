"""Picks one row of a run by what a person calls document and question."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow.compute as pc
from rapidfuzz import fuzz, process

from pipeline.errors import UsageError
from pipeline.file_names import printable, readable
from pipeline.output.folder import Folder
from pipeline.viewing.published import Published, check_published, current_batches
from pipeline.viewing.texts import pages_of

_MOST_NAMED = 5
_ALIKE = 60  # of 100
_NAMES = ("document_id", "source", "document")
_RANK = ("answered", "needs_review", "not_answerable", "failed", "skipped")


def pick_row(run: Published, document: str, question: str, page: int | None) -> dict[str, Any]:
    """Find the row of a question; of several pages, the one with the best answer.

    Args:
        run: what the run published of one document.
        document: what a person calls the document.
        question: id of the question.
        page: page number, counted from 1; ``None`` for any.

    Raises:
        UsageError: no row fits.
    """
    asked = run.answers["question_id"].unique().to_pylist()
    if question not in asked:
        near = _near(question, asked) or sorted(asked)
        raise UsageError(f"no question {question!r} was asked of {printable(document)}; there is {_shown(near)}")
    rows = run.answers.filter(pc.equal(run.answers["question_id"], question)).to_pylist()
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


def find_document(folder: Folder, name: str) -> str:
    """Return the ``document_id`` of what a person calls a document; memory does not grow with the documents.

    Args:
        folder: output folder of the run.
        name: path below the input or behind it, name, or ``document_id``.

    Raises:
        UsageError: no document fits, or several do, or the folder holds no answers.
        EngineError: a file cannot be read.
    """
    check_published(folder)
    name = readable(name)  # as the tables have what a shell completes
    fitting: dict[Any, dict[str, dict[str, Any]]] = {_is_called: {}, _ends_with: {}}
    near: list[str] = []
    first: list[str] = []
    for rows in current_batches(folder, "answers", _NAMES):
        known = rows.group_by(list(_NAMES)).aggregate([]).to_pylist()
        for fits, found in fitting.items():
            found.update({row["document_id"]: row for row in known if fits(row, name)})
        paths = {row["document"] for row in known}
        first = sorted(paths.union(first))[:_MOST_NAMED]
        if not any(fitting.values()):
            near = _near(name, paths.union(near))
    if not first:
        raise UsageError(
            f"{folder.uri} has no answers yet; give its `docpipe run` command once more, which goes on where it stopped"
        )
    found = next(filter(None, fitting.values()), {})
    if not found:
        raise UsageError(
            f"no document {printable(name)} in {folder.uri}; there is {_shown(near or first)}, for example"
        )
    if len(found) > 1:
        several = [f"{printable(row['document'])} ({key})" for key, row in found.items()]
        raise UsageError(
            f"{len(found)} documents are called {printable(name)}; name the path below the input, or the "
            f"document_id: {_listed(several)}"
        )
    return next(iter(found))


def _is_called(row: dict[str, Any], name: str) -> bool:
    path = row["document"]
    return name in (path, row["document_id"], printable(path), f"{row['source'].rstrip('/')}/{path}")


def _ends_with(row: dict[str, Any], name: str) -> bool:
    return str(row["document"]).endswith(f"/{name}")


def _near(name: str, known: Iterable[str]) -> list[str]:
    """Return the names that are most like one, which may be none."""
    found = process.extract(name, sorted(known), scorer=fuzz.ratio, score_cutoff=_ALIKE, limit=_MOST_NAMED)
    return [one for one, *_ in found]


def _shown(names: list[str]) -> str:
    return _listed([printable(one) for one in names])


def _listed(things: list[Any]) -> str:
    named = ", ".join(map(str, things[:_MOST_NAMED]))
    return f"{named} and {len(things) - _MOST_NAMED} more" if len(things) > _MOST_NAMED else named
