"""Keeps the documents of a run and their page counts in a scratch database, in the order of the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from pipeline.records import Document, Failure, PageCount
from pipeline.scratch import Scratch, portions

_WINDOW = 10_000
_RANGE = 50_000  # documents that are sorted at a time: a sort of rows as wide as these needs memory for all of them
_FAILURE = [(name, pa.string()) for name in ("stage", "error_type", "error_message")] + [("attempts", pa.int32())]
_DOCUMENT = [
    *((name, pa.string()) for name in ("document_id", "path", "uri")),
    ("size_bytes", pa.int64()),
    ("version", pa.string()),
    ("source", pa.string()),
    ("members", pa.list_(pa.int32())),
]
DOCUMENTS = pa.schema([("n", pa.int64()), *_DOCUMENT])
COUNTS = pa.schema([("document_id", pa.string()), ("pages", pa.int32()), *_FAILURE])
_FIELDS = ", ".join(f"d.{name}" for name, _ in _DOCUMENT)
_UNCOUNTED = "anti join counts c on c.document_id = d.document_id"
_REASON = ", ".join(f"c.{name}" for name, _ in _FAILURE)


class Catalog:
    """Lists documents and their page counts, or the reasons why these are not known.

    The table ``documents`` of the database has them by ``n``, their number from 0, and ``counts`` the page counts.

    Args:
        scratch: database that holds them.
    """

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self._size = 0
        scratch.create("documents", DOCUMENTS)
        scratch.create("counts", COUNTS)

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._size

    def __iter__(self) -> Iterator[tuple[Document, PageCount]]:
        """Yield each document with its page count, in order."""
        return self._read(f"select {_FIELDS}, c.pages, {_REASON} from documents d join counts c using (document_id)")

    def documents(self) -> Iterator[Document]:
        """Yield the documents in order, with or without a page count."""
        return (document for document, _ in self._read(f"select {_FIELDS} from documents d"))

    def take(self, query: str, order: str, limit: int | None) -> None:
        """Add documents that the database holds, with the failures of those that have one.

        Args:
            query: query that finds their columns.
            order: columns to sort them by.
            limit: most documents to take; ``None`` for all.
        """
        names = ", ".join(name for name, _ in _DOCUMENT)
        reason = ", ".join(name for name, _ in _FAILURE)
        first = "" if limit is None else f" limit {limit}"
        numbered = f"select row_number() over (order by {order}) - 1 + {self._size} as n, * from ({query})"
        self.scratch.run(f"create or replace temp table taken as {numbered} order by n{first}")
        self.scratch.run(f"insert into documents by name select n, {names} from taken")
        self.scratch.run(f"insert into counts by name select document_id, {reason} from taken where stage is not null")
        self.scratch.run("drop table taken")
        self._size = self.scratch.value("select count(*) from documents")

    def append(self, documents: Iterable[Document]) -> None:
        """Add documents behind those that are there.

        Args:
            documents: the documents, in order.
        """
        for window in portions(documents, _WINDOW):
            rows = [{"n": self._size + place, **document_row(document)} for place, document in enumerate(window)]
            self.scratch.add("documents", pa.Table.from_pylist(rows, DOCUMENTS))
            self._size += len(window)

    def count(self, counts: Iterable[PageCount]) -> None:
        """Add page counts, in the place of those of the same documents.

        Args:
            counts: the page counts.
        """
        for window in portions(counts, _WINDOW):
            rows = pa.Table.from_pylist([_count_row(count) for count in window], COUNTS)
            self.scratch.run_with(rows, "delete from counts where document_id in (select document_id from given)")
            self.scratch.add("counts", rows)

    def know(self, counts: pa.Table) -> None:
        """Take page counts of an earlier run; those of documents that are not listed, or counted, are left out.

        Args:
            counts: rows with ``document_id`` and ``pages``.
        """
        mine = "from given semi join documents using (document_id) anti join counts using (document_id)"
        self.scratch.run_with(counts, f"insert into counts by name select document_id, pages {mine}")

    def uncounted(self, end: int, most: int = _WINDOW) -> list[Document]:
        """Return the first documents without a page count.

        Args:
            end: number of the document at which to stop.
            most: most documents to return.
        """
        query = f"select {_FIELDS} from documents d {_UNCOUNTED} where d.n < {end} order by d.n limit {most}"
        return [document for document, _ in self._rows(query)]

    def count_uncounted(self) -> int:
        """Count the documents without a page count."""
        return self.scratch.value(f"select count(*) from documents d {_UNCOUNTED}")

    def unopened(self) -> Iterator[tuple[Document, PageCount]]:
        """Yield the documents whose pages could not be counted, in order."""
        query = f"select {_FIELDS}, c.pages, {_REASON} from documents d join counts c using (document_id)"
        return self._read(query, "c.pages is null")

    def pages(self) -> int:
        """Add up the page counts."""
        return self.scratch.value("select sum(pages) from documents join counts using (document_id)")

    def _read(self, query: str, condition: str = "true") -> Iterator[tuple[Document, PageCount]]:
        """Yield what a query over documents ``d`` finds, by their numbers."""
        for first in range(0, self._size, _RANGE):
            mine = f"d.n >= {first} and d.n < {first + _RANGE}"
            yield from self._rows(f"{query} where {condition} and {mine} order by d.n")

    def _rows(self, query: str) -> Iterator[tuple[Document, PageCount]]:
        for table in self.scratch.read(query):
            for row in table.to_pylist():
                yield _document(row), _count(row)


def document_row(document: Document) -> dict[str, Any]:
    """Return the columns of ``DOCUMENTS`` of a document, but for its number."""
    return {name: getattr(document, name) for name, _ in _DOCUMENT}


def _document(row: dict[str, Any]) -> Document:
    fields = {name: row[name] for name, _ in _DOCUMENT}
    return Document(**{**fields, "members": tuple(fields["members"])})


def _count_row(count: PageCount) -> dict[str, Any]:
    known = {"document_id": count.document_id, "pages": count.pages}
    failure = count.failure
    return known if failure is None else known | {name: getattr(failure, name) for name, _ in _FAILURE}


def _count(row: dict[str, Any]) -> PageCount:
    stage = row.get("stage")
    failure = None if stage is None else Failure(**{name: row[name] for name, _ in _FAILURE})
    return PageCount(row["document_id"], row.get("pages"), failure)
