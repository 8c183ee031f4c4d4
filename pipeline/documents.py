"""Which files a run reads: folders, globs, single files and fsspec URIs, known from listings alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import fsspec

from pipeline.errors import UsageError
from pipeline.records import Document

SUFFIXES = (".pdf", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
_VERSION_KEYS = ("etag", "ETag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


def list_documents(inputs: Sequence[str], limit: int | None = None) -> list[Document]:
    """Every document below the inputs, sorted by path.

    A folder is read recursively; in folders and globs, files count by their suffix (``SUFFIXES``, any case) and
    hidden files and folders do not. A file that is named explicitly counts whatever its name.

    Args:
        inputs: folders, globs, files or URIs such as ``s3://bucket/folder``.
        limit: at most this many documents.

    Raises:
        UsageError: an input does not exist or cannot be listed, or no document was found in any.
    """
    found = [document for given in inputs for document in _list(given)]
    unique = {(document.document_id, document.uri): document for document in found}
    twins = Counter(document.document_id for document in unique.values())
    documents = [_told_apart(d) if twins[d.document_id] > 1 else d for d in unique.values()]
    documents.sort(key=lambda document: (document.path, document.uri))
    if not documents:
        raise UsageError(f"no document in {', '.join(inputs)}; expected files ending in {' '.join(SUFFIXES)}")
    return documents if limit is None else documents[:limit]


def _list(given: str) -> Iterator[Document]:
    try:
        fs, root = fsspec.url_to_fs(given)
        if any(char in root for char in "*?[") and not fs.exists(root):
            base = _glob_base(root)
            for path, info in sorted(fs.glob(root, detail=True).items()):
                if info["type"] == "file" and _counts(_below(path, base)):
                    yield _document(fs, path, _below(path, base), info)
        elif fs.isfile(root):
            yield _document(fs, root, PurePosixPath(root).name, fs.info(root))
        elif fs.isdir(root):
            for path, info in sorted(fs.find(root, detail=True).items()):
                if _counts(_below(path, root)):
                    yield _document(fs, path, _below(path, root), info)
        else:
            raise UsageError(f"--input {given}: no such file or folder")
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"--input {given}: cannot be listed: {error}") from error


def _glob_base(pattern: str) -> str:
    """The folder in front of the first wildcard."""
    parts = PurePosixPath(pattern).parts
    first = next(i for i, part in enumerate(parts) if any(char in part for char in "*?["))
    return str(PurePosixPath(*parts[:first])) if first else ""


def _below(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")


def _counts(path: str) -> bool:
    hidden = any(part.startswith(".") for part in PurePosixPath(path).parts)
    return not hidden and path.lower().endswith(SUFFIXES)


def _document(fs: Any, path: str, below: str, info: Mapping[str, Any]) -> Document:
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key) is not None), "")
    size = int(info.get("size") or 0)
    uri = path if "file" in fs.protocol else fs.unstrip_protocol(path)
    return Document(_id(below, size, version), below, uri, size, version)


def _told_apart(document: Document) -> Document:
    """Two inputs can hold files of the same relative path, size and time; then the whole address is part of the id."""
    return replace(document, document_id=_id(document.uri, document.size_bytes, document.version))


def _id(path: str, size: int, version: str) -> str:
    return hashlib.sha256(f"{path}\0{size}\0{version}".encode()).hexdigest()[:16]
