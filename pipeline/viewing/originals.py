"""Finds the documents of a run again, where they were or where they are now, and makes sure that they are the same."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pipeline.errors import DocpipeError, PageError, UsageError
from pipeline.file_names import local_input, printable, without_password
from pipeline.pages.documents import list_documents
from pipeline.pages.portfolio import members_of
from pipeline.pages.renderer import RenderChild
from pipeline.records import Document

_MOST_TRIED = 8  # documents of the same name, each of which has to be hashed


class OriginalMissing(DocpipeError):
    """The document of a row is not there any more; the message says why, and what to do."""


def named_reason(row: dict[str, Any], error: OriginalMissing | PageError) -> str:
    """Say of a document by name why nothing can be made of it; what is wrong with a page does not name it.

    Args:
        row: row of ``answers`` with its ``document`` and ``source``.
        error: why nothing can be made of it.
    """
    told = str(error) if isinstance(error, OriginalMissing) else f"{row['document']} in {row['source']}: {error}"
    return printable(told)


class Originals:
    """Finds documents by their path below the input, or by their name, and checks the content by its hash.

    Args:
        child: render child that opens and hashes the documents.
        moved_to: folders, globs, files or URIs that hold the documents now; empty to look where the run found them.
    """

    def __init__(self, child: RenderChild, moved_to: Sequence[str] = ()) -> None:
        self._child = child
        self._moved_to = moved_to
        self._listings: dict[tuple[str, ...], _Listing] = {}
        self._found: dict[str, Document | OriginalMissing] = {}

    def find(self, row: dict[str, Any]) -> Document:
        """Find the document of a row.

        Args:
            row: row of ``answers``, with ``document_id``, ``source``, ``document`` and ``document_sha256``.

        Raises:
            OriginalMissing: it cannot be listed, is gone, or has changed.
            EngineError: the render child cannot be started.
        """
        key = row["document_id"]
        if key not in self._found:
            try:
                self._found[key] = self._look_for(row)
            except OriginalMissing as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, OriginalMissing):
            raise found
        return found

    def _look_for(self, row: dict[str, Any]) -> Document:
        path, sha256 = row["document"], row["document_sha256"]
        shown = printable(path)
        if sha256 is None:
            raise OriginalMissing(f"{shown} could not be opened when it was read")
        listing = self._listing(row["source"])
        candidates = listing.candidates(path)
        for candidate in candidates:
            if (document := self._same(candidate, path, sha256)) is not None:
                return document
        places = ", ".join(printable(_place(given)) for given in listing.inputs)
        told = f"it has changed since it was read, in {places}" if candidates else f"it was not found in {places}"
        raise OriginalMissing(f"{shown}: {told}; if it is elsewhere, name its folder with --input")

    def _same(self, candidate: Document, path: str, sha256: str) -> Document | None:
        """Return a document, or the one inside of it, that has the right content."""
        try:
            if self._child.sha256(candidate) == sha256:
                return candidate
            if not path.startswith(f"{candidate.path}/"):
                return None
            inside = members_of(candidate, self._child)
        except PageError:
            return None
        ways = (self._same(member, path, sha256) for member in inside if f"{path}/".startswith(f"{member.path}/"))
        return next((found for found in ways if found is not None), None)

    def _listing(self, source: str) -> _Listing:
        inputs = tuple(self._moved_to) or (source,)
        if inputs not in self._listings:
            self._listings[inputs] = _Listing(inputs)
        return self._listings[inputs]


def _place(given: str) -> str:
    """Return the place that was searched; a path that the run was given is taken from the working directory of now."""
    path = local_input(given)
    return without_password(given) if path is None else os.path.abspath(path)


class _Listing:
    """The documents below some inputs, by path and by name; none if they cannot be listed."""

    def __init__(self, inputs: tuple[str, ...]) -> None:
        self.inputs = inputs
        self._by_path: defaultdict[str, list[Document]] = defaultdict(list)
        self._by_name: defaultdict[str, list[Document]] = defaultdict(list)
        for given in inputs:
            try:
                documents = list_documents([given])
            except UsageError:  # gone, or of another machine; the documents are then reported one by one
                continue
            for document in documents:
                self._by_path[document.path].append(document)
                self._by_name[document.path.rpartition("/")[2]].append(document)

    def candidates(self, path: str) -> list[Document]:
        """List the documents that may be the one of a path, the likeliest first; portfolios that hold it are some."""
        same_name = self._by_name[path.rpartition("/")[2]]
        parts = path.split("/")
        around = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        exact = [document for outer in around for document in self._by_path.get(outer, ())]
        return list({id(document): document for document in [*exact, *same_name]}.values())[:_MOST_TRIED]
