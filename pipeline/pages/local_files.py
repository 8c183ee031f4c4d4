"""Finds files on a local disk; an entry that cannot be read costs itself, and never the listing."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator

from pipeline.errors import UsageError
from pipeline.file_names import ROOT_MARK
from pipeline.globs import compile_glob, may_match_below, split_glob
from pipeline.pages.entry import Entry, has_document_suffix, unreadable

_GONE = (errno.ENOENT, errno.ENOTDIR)


def find_local(given: str) -> tuple[bool, Iterator[Entry]]:
    """Find what an input names.

    Args:
        given: path of a file or folder, or a glob; a path that exists is never taken for a glob.

    Returns:
        Whether the input is a single file, and the entries.

    Raises:
        UsageError: there is no such file or folder, or it is neither.
        OSError: the input itself cannot be read.
        ValueError: the glob is not valid.
    """
    if not given:
        raise UsageError("expected a file, folder or glob, found an empty name")
    path = os.path.abspath(given)
    base, pattern = split_glob(path, os.path.lexists)
    if pattern:
        if not os.path.isdir(base):
            raise UsageError("no such file or folder")
        return False, _glob(base, pattern)
    try:
        status = os.stat(path)
    except OSError as error:
        if os.path.lexists(path) and has_document_suffix(path):
            return True, iter([Entry(path, _below(given, path), failure=unreadable(path, error))])
        if error.errno in _GONE and not os.path.lexists(path):
            raise UsageError("no such file or folder") from error
        raise
    if stat.S_ISDIR(status.st_mode):
        return False, _walk(path, lambda _: True)
    if not stat.S_ISREG(status.st_mode):
        raise UsageError("expected a file or folder, found a pipe, socket or device")
    return True, iter([_file(path, _below(given, path), status)])


def _below(given: str, path: str) -> str:
    """Return the path of a single file below its input."""
    _, mark, below = given.rpartition(ROOT_MARK)
    return below if mark and path.endswith(f"/{below}") else os.path.basename(path)


def _glob(base: str, pattern: str) -> Iterator[Entry]:
    matches = compile_glob(pattern).fullmatch
    for entry in _walk(base, lambda folder: may_match_below(pattern, folder)):
        if may_match_below(pattern, entry.below[:-1]) if entry.kind == "folder" else matches(entry.below):
            yield entry


def _walk(root: str, wanted: Callable[[str], bool]) -> Iterator[Entry]:
    """Yield the entries of a folder and of all folders below it for which ``wanted`` holds.

    Links to folders are followed once all real folders are done, and never into a folder that was listed before.
    """
    seen: set[tuple[int, int]] = set()  # device and inode
    folders = [("", False)]  # path below the root, and whether a link leads to it
    links = deque[str]()
    while folders or links:
        below, linked = folders.pop() if folders else (links.popleft(), True)
        path = os.path.join(root, below) if below else root
        try:
            status = os.stat(path)
            if linked and (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            if not below:
                raise
            yield Entry(path, f"{below}/", failure=unreadable(path, error), kind="folder")
            continue
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            found = _look_at(entry, name)
            if found is not None:
                yield found
            elif not wanted(name):
                continue
            elif entry.is_symlink():
                links.append(name)
            else:
                folders.append((name, linked))


def _look_at(entry: os.DirEntry[str], below: str) -> Entry | None:
    """Describe an entry of a folder; ``None`` for a folder that can be looked into."""
    if entry.name.startswith("."):
        return Entry(entry.path, below, kind="hidden")
    try:
        status = entry.stat()
    except OSError as error:
        failure = unreadable(entry.path, error)
        if _is_real_folder(entry):
            return Entry(entry.path, f"{below}/", failure=failure, kind="folder")
        if os.path.islink(entry.path) and not has_document_suffix(below):
            return Entry(entry.path, below, failure=failure, kind="broken link")
        return Entry(entry.path, below, failure=failure)
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):
        return Entry(entry.path, below, kind="special file")
    return _file(entry.path, below, status)


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # a folder without the right to search it tells not even what its entries are
        return False


def _file(path: str, below: str, status: os.stat_result) -> Entry:
    return Entry(path, below, status.st_size, str(status.st_mtime_ns))
