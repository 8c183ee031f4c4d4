"""Matches paths with globs in which ``*`` stays within a folder and ``**`` spans folders."""

from __future__ import annotations

import re
from functools import lru_cache

from fsspec.utils import glob_translate

WILDCARDS = frozenset("*?[")


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob into an expression for ``fullmatch``.

    Args:
        pattern: glob with "/" as separator.

    Raises:
        ValueError: ``**`` is not a whole name between separators.
    """
    return re.compile(glob_translate(pattern))


def may_match_below(pattern: str, folder: str) -> bool:
    """Tell whether a glob can match a path below a folder, so that the folder is worth a look.

    Args:
        pattern: glob with "/" as separator.
        folder: folder below the place where the pattern starts; empty for that place itself.
    """
    parts = pattern.split("/")
    for position, name in enumerate(folder.split("/") if folder else ()):
        if parts[position] == "**":
            return True
        if position + 1 == len(parts) or compile_glob(parts[position]).fullmatch(name) is None:
            return False
    return True
