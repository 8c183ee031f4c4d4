"""Lists the documents of a run, from folders, globs, single files and fsspec URIs, without opening them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from pipeline.addresses import as_os_errors, remote_uri
from pipeline.catalog import COUNTS, DOCUMENTS, Catalog, document_row
from pipeline.errors import UsageError
from pipeline.file_names import (
    local_input,
    local_uri,
    printable,
    readable,
    same_for_all,
    without_password,
    without_secrets,
)
from pipeline.pages.entry import SUFFIXES, Entry, has_document_suffix
from pipeline.pages.local_files import find_local
from pipeline.pages.remote_files import find_remote
from pipeline.records import Document, Failure
from pipeline.scratch import Scratch, portions

_USUAL_SUFFIX = re.compile(r"\.(?=.*[a-z])[a-z0-9_~-]{1,12}")  # others are counted together, as a name may be anything


_FOUND = pa.schema(
    [
        ("place", pa.int64()),
        ("address", pa.binary()),
        ("kind", pa.string()),
        *((field.name, field.type) for field in DOCUMENTS if field.name != "n"),
        *((field.name, field.type) for field in COUNTS if field.name not in ("document_id", "pages")),
    ]
)
_FIRST = "qualify row_number() over (partition by address order by place) = 1"
_WINDOW = 10_000


@dataclass(frozen=True, slots=True)
class Listing:
    """What the inputs of a run hold.

    Attributes:
        documents: the documents, sorted by path.
        failures: reason by document id, for documents of which the listing shows that they cannot be read. A folder
            that cannot be listed is one of them; its path ends with "/".
        ignored: number of files that are no documents, by suffix or kind.
    """

    documents: list[Document]
    failures: dict[str, Failure]
    ignored: dict[str, int]


def catalog_documents(catalog: Catalog, inputs: Sequence[str], limit: int | None = None) -> dict[str, int]:
    """Put everything below the inputs into an empty catalog, sorted by path.

    Folders are searched recursively. In folders and globs, only files with a known suffix count (``SUFFIXES``, any
    case), and hidden files and folders do not. A file that is named explicitly always counts. On a local disk, links
    are followed, those to folders only into folders that were not listed before. A file that several inputs reach is
    listed once, with its path below the first of them. Documents of which the listing shows that they cannot be read
    have a failure in the place of a page count; a folder that cannot be listed is one of them, and its path ends with
    "/".

    Args:
        catalog: catalog that gets them.
        inputs: folders, globs, files or URIs such as ``s3://bucket/folder``.
        limit: largest number of documents; ``None`` for all.

    Returns:
        Number of files that are no documents, by suffix or kind.

    Raises:
        UsageError: an input does not exist or cannot be listed, or the inputs hold no document.
    """
    scratch = catalog.scratch
    scratch.create("found", _FOUND)
    for window in portions(enumerate(chain.from_iterable(map(_list, inputs))), _WINDOW):
        scratch.add("found", pa.Table.from_pylist([_row(place, *found) for place, found in window], _FOUND))
    ignored = _ignored(scratch)
    catalog.take(f"select * from found where kind is null {_FIRST}", "path, uri", limit)
    scratch.run("drop table found")
    if not len(catalog):
        said = f" ({ignored_words(ignored)})" if ignored else ""
        given = ", ".join(map(_shown, inputs))
        raise UsageError(f"no document in {given}{said}; expected files ending in {' '.join(SUFFIXES)}")
    return ignored


def find_documents(inputs: Sequence[str], limit: int | None = None) -> Listing:
    """List what :func:`catalog_documents` finds, in memory.

    Args:
        inputs: folders, globs, files or URIs such as ``s3://bucket/folder``.
        limit: largest number of documents; ``None`` for all.

    Raises:
        UsageError: an input does not exist or cannot be listed, or the inputs hold no document.
    """
    with Scratch() as scratch:
        catalog = Catalog(scratch)
        ignored = catalog_documents(catalog, inputs, limit)
        failures = {document.document_id: count.failure for document, count in catalog.unopened()}
        return Listing(list(catalog.documents()), {key: why for key, why in failures.items() if why}, ignored)


def list_documents(inputs: Sequence[str], limit: int | None = None) -> list[Document]:
    """Return the documents of :func:`find_documents` alone."""
    return find_documents(inputs, limit).documents


def ignored_words(ignored: dict[str, int], most: int = 10) -> str:
    """Write counts such as ``ignored: 3 .docx, 1 .txt``, the largest first.

    Args:
        ignored: number of files by suffix or kind, at least one.
        most: largest number of kinds to name.
    """
    by_count = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    words = [f"{count} {kind}" for kind, count in by_count[:most]]
    rest = sum(count for _, count in by_count[most:])
    return f"ignored: {', '.join(words)}" + (f", {rest} of other kinds" if rest else "")


def _list(given: str) -> Iterator[tuple[str, Document | None, Entry]]:
    """Yield each file's address, the same for each way to it; its document, unless it is ignored; and its entry."""

    @cache
    def real(folder: str) -> str:
        return os.path.realpath(folder)

    try:
        path = local_input(given)
        if path is not None:
            named, entries = find_local(path)
            for entry in entries:
                folder, name = os.path.split(entry.path)
                address = f"{real(folder)}/{name}"
                yield address, _document(entry, address, local_uri(entry.path), given, named), entry
            return
        with as_os_errors():
            named, fs, entries = find_remote(given)
            for entry in entries:
                uri = remote_uri(given, fs, entry.path)
                address = same_for_all(uri)
                yield address, _document(entry, address, uri, given, named), entry
    except UsageError as error:
        raise UsageError(f"--input {_shown(given)}: {error}") from error
    except (OSError, ValueError, ImportError) as error:
        reason = printable(without_secrets(str(error), given))
        raise UsageError(f"--input {_shown(given)}: cannot be listed: {reason}") from error


def _row(place: int, address: str, document: Document | None, entry: Entry) -> dict[str, Any]:
    """Describe a file for the database; a name that is not UTF-8 is compared as it is."""
    row: dict[str, Any] = {"place": place, "address": address.encode(errors="surrogatepass")}
    if document is None:
        return row | {"kind": _kind(entry)}
    failure = {} if entry.failure is None else asdict(entry.failure)
    return row | document_row(document) | failure


def _ignored(scratch: Scratch) -> dict[str, int]:
    """Count the files that are no documents by kind; a file that another input names is one."""
    left_out = f"(select * from found where kind is not null {_FIRST})"
    query = (
        f"select kind, count(*) as files from {left_out} "
        "where address not in (select address from found where kind is null) group by kind order by kind"
    )
    return {row["kind"]: row["files"] for rows in scratch.read(query) for row in rows.to_pylist()}


def _shown(given: str) -> str:
    return printable(without_password(given))


def _document(entry: Entry, address: str, uri: str, given: str, named: bool) -> Document | None:
    """Return the document of an entry; ``None`` for an entry that is ignored."""
    if not named and entry.kind != "folder" and not (entry.kind == "file" and has_document_suffix(entry.below)):
        return None
    path = readable(entry.below)
    document_id = _id(address, path, entry.size_bytes, entry.version)
    return Document(document_id, path, uri, entry.size_bytes, entry.version, readable(without_password(given)))


def _kind(entry: Entry) -> str:
    if entry.kind != "file":
        return entry.kind
    suffix = PurePosixPath(entry.below).suffix.lower()
    if not suffix:
        return "without a suffix"
    return suffix if _USUAL_SUFFIX.fullmatch(suffix) else "with an unusual suffix"


def _id(address: str, path: str, size_bytes: int, version: str) -> str:
    known = f"{address}\0{path}\0{size_bytes}\0{version}"
    return hashlib.sha256(known.encode(errors="surrogatepass")).hexdigest()[:16]  # a name need not be UTF-8
