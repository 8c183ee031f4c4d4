"""Lists the documents of a run, from folders, globs, single files and fsspec URIs, without opening them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from pipeline.addresses import as_os_errors, remote_uri
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

_USUAL_SUFFIX = re.compile(r"\.(?=.*[a-z])[a-z0-9_~-]{1,12}")  # others are counted together, as a name may be anything


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


def find_documents(inputs: Sequence[str], limit: int | None = None) -> Listing:
    """List everything below the inputs.

    Folders are searched recursively. In folders and globs, only files with a known suffix count (``SUFFIXES``, any
    case), and hidden files and folders do not. A file that is named explicitly always counts. On a local disk, links
    are followed, those to folders only into folders that were not listed before. A file that several inputs reach is
    listed once, with its path below the first of them.

    Args:
        inputs: folders, globs, files or URIs such as ``s3://bucket/folder``.
        limit: largest number of documents; ``None`` for all.

    Raises:
        UsageError: an input does not exist or cannot be listed, or the inputs hold no document.
    """
    found: dict[str, tuple[Document, Failure | None]] = {}
    left_out: dict[str, str] = {}
    for given in inputs:
        for address, document, entry in _list(given):
            if document is None:
                left_out.setdefault(address, _kind(entry))
            else:
                found.setdefault(address, (document, entry.failure))
    ignored = dict(sorted(Counter(kind for address, kind in left_out.items() if address not in found).items()))
    if not found:
        said = f" ({ignored_words(ignored)})" if ignored else ""
        given = ", ".join(map(_shown, inputs))
        raise UsageError(f"no document in {given}{said}; expected files ending in {' '.join(SUFFIXES)}")
    pairs = sorted(found.values(), key=lambda pair: (pair[0].path, pair[0].uri))
    kept = pairs if limit is None else pairs[:limit]
    failures = {document.document_id: failure for document, failure in kept if failure is not None}
    return Listing([document for document, _ in kept], failures, ignored)


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
