"""Finds files on any file system that fsspec knows."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from fsspec.asyn import AsyncFileSystem

from pipeline.addresses import open_address
from pipeline.errors import UsageError
from pipeline.file_names import ROOT_MARK, without_password
from pipeline.globs import split_glob, with_any_case
from pipeline.pages.entry import Entry
from pipeline.records import Failure

_VERSION_KEYS = ("etag", "ETag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
_MOST_FOLDERS = 1_000  # each of which takes a request of its own


def find_remote(given: str) -> tuple[bool, Any, Iterator[Entry]]:
    """Find what an input names.

    Args:
        given: URI of a file or folder, or a glob; a URI that exists is never taken for a glob.

    Returns:
        Whether the input is a single file, its file system, and the entries.

    Raises:
        UsageError: there is no such file or folder, or the address is chained.
        OSError, ValueError, ImportError: the input itself cannot be listed.
    """
    above, mark, marked = given.rpartition(ROOT_MARK)
    fs, root = open_address(f"{above}/{marked}" if mark else given)
    root = root.rstrip("/") if root.strip("/") else root
    base, pattern = split_glob(root, fs.exists)
    if pattern:
        return False, fs, _glob(fs, base, pattern)
    if fs.isfile(root):
        return (
            True,
            fs,
            iter([_entry(root, marked if mark else PurePosixPath(without_password(root)).name, fs.info(root))]),
        )
    if fs.isdir(root):
        return False, fs, _find(fs, root) if isinstance(fs, AsyncFileSystem) else _walk(fs, root)
    raise UsageError("no such file or folder")


def _glob(fs: Any, base: str, pattern: str) -> Iterator[Entry]:
    pattern = with_any_case(pattern)
    whole = f"{glob.escape(base).rstrip('/')}/{pattern}" if base else pattern  # nothing in the base is a wildcard
    for path, info in fs.glob(whole, detail=True).items():
        if info["type"] == "file":
            yield _entry(path, _below(path, base), info)


def _find(fs: Any, root: str) -> Iterator[Entry]:
    """List an object store, which answers for all depths at once or not at all.

    fsspec holds such an answer as a whole, so the folders of the first level are asked for one after the other, unless
    they are many.
    """
    first = fs.ls(root, detail=True)
    folders = [info["name"] for info in first if info["type"] == "directory"]
    if len(folders) > _MOST_FOLDERS:
        first, folders = [], [root]
    found = chain(first, chain.from_iterable(fs.find(folder, detail=True).values() for folder in folders))
    for info in found:
        if info["type"] != "directory":
            yield _entry(info["name"], _below(info["name"], root), info)


def _walk(fs: Any, root: str) -> Iterator[Entry]:
    """List folder by folder, because fsspec would leave out a folder that it may not read."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            infos = fs.ls(folder, detail=True)
        except OSError as error:
            if folder == root:
                raise
            reason = f"the folder cannot be listed: {error}"
            yield Entry(folder, _below(folder, root) + "/", failure=_unreadable(reason), kind="folder")
            continue
        for info in infos:
            path = info["name"].rstrip("/")
            if path == folder.rstrip("/"):
                continue  # some file systems list a folder among its own entries
            below = _below(path, root)
            if info["type"] == "directory" and not PurePosixPath(below).name.startswith("."):
                folders.append(path)
            else:
                yield _entry(path, below, info)


def _unreadable(reason: str) -> Failure:
    return Failure("open", "DocumentUnreadable", reason)


def _entry(path: str, below: str, info: Mapping[str, Any]) -> Entry:
    if any(part.startswith(".") for part in PurePosixPath(below).parts):
        return Entry(path, below, kind="hidden")
    version = next((info[key] for key in _VERSION_KEYS if info.get(key) is not None), "")
    if isinstance(version, datetime):  # a listing may have the seconds where the file itself has this
        version = version.timestamp()
    return Entry(path, below, int(info.get("size") or 0), str(version))


def _below(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")
