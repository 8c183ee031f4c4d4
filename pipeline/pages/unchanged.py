"""Refuses a file that is not what the listing saw: its answers would stand under the document that is gone."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import PageError

_ETAGS = ("etag", "ETag")
_CHANGED = "the file has changed since it was listed; run the same command again to read what is there now"


def check_unchanged(path: str, listed: Sequence[Any] | None) -> None:
    """Refuse a local file that is no regular file, or not the one that was listed.

    Args:
        path: path of the file.
        listed: its size in bytes and its modification time in ns, as text, when it was listed; ``None`` for a copy.

    Raises:
        PageError: the file has changed.
        OSError: the file is gone, or cannot be looked at.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise PageError("open", "DocumentUnreadable", "expected a file, found a pipe, a device or a folder")
    if listed is not None and [status.st_size, str(status.st_mtime_ns)] != list(listed):
        raise PageError("open", "DocumentChanged", _CHANGED)


def check_unchanged_remote(size_bytes: int, version: str, info: Mapping[str, Any]) -> None:
    """Refuse a remote file whose size or etag is not that of the listing, as far as both are known.

    Args:
        size_bytes: size when it was listed; 0 where the listing does not say.
        version: etag, or something else where the listing has none.
        info: what its file system says about it now.

    Raises:
        PageError: the file has changed.
    """
    size, etag = info.get("size"), next((info[key] for key in _ETAGS if info.get(key)), None)
    resized = size_bytes > 0 and size is not None and int(size) != size_bytes
    # A file system may tell more of a file alone than of its listing; etags are the same, but for quotes.
    retagged = etag is not None and _is_etag(version) and _bare(str(etag)) != _bare(version)
    if resized or retagged:
        raise PageError("open", "DocumentChanged", _CHANGED)


def _is_etag(version: str) -> bool:
    try:
        float(version)
    except ValueError:
        return bool(version)
    return False  # a time


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')
