"""Describes one entry of a listing, which may or may not be a document."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from pipeline.file_names import readable
from pipeline.records import Failure

SUFFIXES = tuple(f".{end}" for end in "pdf png jpg jpeg jpe jfif tif tiff webp heic heif jp2 j2k jpx bmp gif".split())
_MOST_CHARACTERS_OF_A_TARGET = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a listing.

    Attributes:
        path: the name that its file system uses.
        below: path below the input, "/" as separator.
        size_bytes: size of the file; 0 where it is not known.
        version: etag, or modification time in ns; empty where it is not known.
        failure: reason why it can be seen already that the entry cannot be read.
        kind: kind of the entry; a ``folder`` is one that cannot be listed.
    """

    path: str
    below: str
    size_bytes: int = 0
    version: str = ""
    failure: Failure | None = None
    kind: Literal["file", "folder", "hidden", "special file", "broken link"] = "file"


def has_document_suffix(name: str) -> bool:
    """Tell whether a file in a folder counts as a document, by its name alone."""
    return name.lower().endswith(SUFFIXES)


def unreadable(path: str, error: OSError) -> Failure:
    """Describe why a local entry cannot be read.

    Args:
        path: path of the entry.
        error: what the operating system said.
    """
    reason = error.strerror or str(error)
    kind = "DocumentNotFound" if isinstance(error, FileNotFoundError) else "DocumentUnreadable"
    try:
        target = readable(os.readlink(path))
    except OSError:
        return Failure("open", kind, f"it cannot be read: {reason}")
    short = target if len(target) <= _MOST_CHARACTERS_OF_A_TARGET else f"{target[:_MOST_CHARACTERS_OF_A_TARGET]}..."
    return Failure("open", kind, f"it is a link to {short}, which cannot be followed: {reason}")
