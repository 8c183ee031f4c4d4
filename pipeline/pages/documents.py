"""Lists the documents of a run, from folders, globs, single files and fsspec URIs, without opening them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import UsageError
from pipeline.records import Document

SUFFIXES = tuple(f".{end}" for end in "pdf png jpg jpeg tif tiff webp heic heif jp2 j2k jpx bmp gif".split())
_VERSION_KEYS = ("etag", "ETag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class _Found:
    """A file in a listing; ``path`` is the name that its file system uses."""

    path: str
    size_bytes: int
    version: str


def list_documents(inputs: Sequence[str], limit: int | None = None) -> list[Document]:
    """List every document below the inputs, sorted by path.

    Folders are searched recursively. In folders and globs, only files with a known suffix count (``SUFFIXES``, any
    case), and hidden files and folders do not. A file that is named explicitly always counts. On a local disk, links to
    files are followed, links to folders below an input are not. A file that several inputs reach is listed once, with
    its path below the first of them.

    Args:
        inputs: folders, globs, files or URIs such as ``s3://bucket/folder``.
        limit: largest number of documents; ``None`` for all.

    Raises:
        UsageError: an input does not exist or cannot be listed, or the inputs hold no document.
    """
    by_uri: dict[str, Document] = {}
    for given in inputs:
        for document in _list(given):
            by_uri.setdefault(document.uri, document)
    if not by_uri:
        raise UsageError(f"no document in {', '.join(inputs)}; expected files ending in {' '.join(SUFFIXES)}")
    same_id = Counter(document.document_id for document in by_uri.values())
    documents = [_told_apart(d) if same_id[d.document_id] > 1 else d for d in by_uri.values()]
    documents.sort(key=lambda document: (document.path, document.uri))
    return documents if limit is None else documents[:limit]


def _list(given: str) -> Iterator[Document]:
    if "::" in given:
        raise UsageError(f"--input {given}: chained addresses are not supported; unpack or copy the files first")
    try:
        fs, root = fsspec.url_to_fs(given, use_listings_cache=False)
        root = root.rstrip("/") if root.strip("/") else root
        if _WILDCARDS.intersection(root) and not fs.exists(root):
            base = _before_wildcard(root)
            below = [(found, _below(found.path, base)) for found in _glob(fs, root)]
        elif fs.isfile(root):
            one = _local(root) if isinstance(fs, LocalFileSystem) else [_remote(root, fs.info(root))]
            yield from (_document(fs, found, PurePosixPath(root).name) for found in one)
            return
        elif fs.isdir(root):
            below = [(found, _below(found.path, root)) for found in _find(fs, root)]
        else:
            raise UsageError(f"--input {given}: no such file or folder")
        for found, path in below:
            if _counts(path):
                yield _document(fs, found, path)
    except UnicodeEncodeError as error:
        raise UsageError(f"--input {given}: the name {error.object!r} is not valid UTF-8; rename it") from error
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"--input {given}: cannot be listed: {error}") from error


def _find(fs: Any, root: str) -> Iterator[_Found]:
    """Find all files below a folder."""
    if not isinstance(fs, LocalFileSystem):
        for path, info in fs.find(root, detail=True).items():
            yield _remote(path, info)
        return

    def refuse(error: OSError) -> None:
        raise error  # by default os.walk, like fsspec, skips a folder that it may not read

    for folder, _, names in os.walk(root, onerror=refuse):
        for name in names:
            yield from _local(f"{folder.rstrip('/')}/{name}")


def _glob(fs: Any, pattern: str) -> Iterator[_Found]:
    """Find all files that match a pattern."""
    if not isinstance(fs, LocalFileSystem):
        for path, info in fs.glob(pattern, detail=True).items():
            if info["type"] == "file":
                yield _remote(path, info)
        return
    for path in fs.glob(pattern):
        yield from _local(path)


def _local(path: str) -> Iterator[_Found]:
    """List a local file; folders and pipes do not count, a dangling link fails when it is opened."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        yield _Found(path, 0, "")
        return
    if stat.S_ISREG(status.st_mode):
        yield _Found(path, status.st_size, str(status.st_mtime_ns))


def _remote(path: str, info: Mapping[str, Any]) -> _Found:
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key) is not None), "")
    return _Found(path, int(info.get("size") or 0), version)


def _before_wildcard(pattern: str) -> str:
    """Return the folder before the first wildcard."""
    parts = PurePosixPath(pattern).parts
    first = next(i for i, part in enumerate(parts) if _WILDCARDS.intersection(part))
    return str(PurePosixPath(*parts[:first])) if first else ""


def _below(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")


def _counts(path: str) -> bool:
    hidden = any(part.startswith(".") for part in PurePosixPath(path).parts)
    return not hidden and path.lower().endswith(SUFFIXES)


def _document(fs: Any, found: _Found, below: str) -> Document:
    uri = found.path if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(found.path)
    uri.encode()  # raises for a name that is not UTF-8, which Parquet and JSON cannot hold
    return Document(_id(below, found.size_bytes, found.version), below, uri, found.size_bytes, found.version)


def _told_apart(document: Document) -> Document:
    """Take the id from the whole address, for a document that shares path, size and time with another."""
    return replace(document, document_id=_id(document.uri, document.size_bytes, document.version))


def _id(path: str, size_bytes: int, version: str) -> str:
    return hashlib.sha256(f"{path}\0{size_bytes}\0{version}".encode()).hexdigest()[:16]
