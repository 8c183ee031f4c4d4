"""Keeps what is written apart from the inputs, so that no run reads what another one wrote, and none is replaced."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipeline.addresses import as_os_errors, open_address
from pipeline.errors import UsageError
from pipeline.file_names import printable
from pipeline.globs import split_glob
from pipeline.pages.entry import has_document_suffix

_WRITTEN = ("answers", "pages", "documents", "failures", "parts", "cache", "inflight", "nights")
"""Folders that a run makes in its output folder."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A path on a file system, links and ``..`` resolved, and the parts of a pattern below it."""

    fs: Any
    path: PurePosixPath
    pattern: tuple[str, ...] = ()

    def holds(self, other: _Place) -> bool:
        """Tell whether documents in another place, or below it, can belong to this one."""
        if self.fs != other.fs or not other.path.is_relative_to(self.path):
            return False
        below = other.path.relative_to(self.path).parts
        for position, part in enumerate(self.pattern):
            if "**" in part or position == len(below):
                return True
            if not fnmatch.fnmatchcase(below[position], part):
                return False
        return not self.pattern


def check_apart(inputs: Sequence[str], output: str, flag: str = "--output") -> None:
    """Refuse an output folder that is an input or inside one, and an input in a folder that a run writes.

    Links, ``..`` and the different ways to write the same address make no difference.

    Args:
        inputs: folders, globs, files or URIs.
        output: path or URI of the output folder.
        flag: option that names it, for messages.

    Raises:
        UsageError: output and input overlap.
    """
    there = _place(output, pattern=False)
    if there is None:
        return
    for given in inputs:
        here = _place(given, pattern=True)
        if here is None:
            continue
        if here.holds(there):
            how = "is" if here.path == there.path else "is inside"
            raise UsageError(
                f"{flag} {output} {how} --input {given}, so a run would look for documents in its own output; "
                "choose a folder outside of the input"
            )
        for name in _WRITTEN:
            if _Place(there.fs, there.path / name).holds(here):
                raise UsageError(
                    f"--input {given} is in {output}/{name}, where this run would write; choose another {flag}"
                )


def check_no_document(to: str, flag: str = "--to") -> None:
    """Refuse to replace a file whose name, or that of what it links to, ends as documents do.

    Args:
        to: path of the file to write, which may be new.
        flag: option that names it, for messages.

    Raises:
        UsageError: it may be a document.
    """
    if os.path.exists(to) and any(map(has_document_suffix, (to, os.path.realpath(to)))):
        raise UsageError(f"{flag} {printable(to)} may be a document, which would be replaced; choose another name")


def _place(address: str, pattern: bool) -> _Place | None:
    """Find the place of an address, which may hold wildcards; ``None`` for one that its reader will refuse."""
    try:
        with as_os_errors():
            fs, path = open_address(address)
            local = isinstance(fs, LocalFileSystem)
            base, below = split_glob(path, os.path.lexists if local else fs.exists) if pattern else (path, "")
    except (UsageError, OSError, ValueError, ImportError):
        return None
    return _Place(fs, PurePosixPath(os.path.realpath(base) if local else base), PurePosixPath(below).parts)
