"""Matches paths with globs in which ``*`` stays within a folder and ``**`` spans folders."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from fsspec.utils import glob_translate

WILDCARDS = frozenset("*?[")
_ENDING = re.compile(r"\.[A-Za-z0-9]+")
_SET = re.compile(r"\[!?+\]?+[^]]*\]")  # a bracket behind the first one, or behind a "!", is one of the set


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob into an expression for ``fullmatch``; the case of the ending that the glob names is any.

    Args:
        pattern: glob with "/" as separator.

    Raises:
        ValueError: ``**`` is not a whole name between separators.
    """
    return _compiled(with_any_case(pattern))


def with_any_case(pattern: str) -> str:
    """Let the ending that a glob names have any case: scanners write ``SCAN001.PDF``, which is as much a PDF.

    Args:
        pattern: glob with "/" as separator; one that ends with a wildcard is returned as it is.
    """
    stem, dot, letters = pattern.rpartition(".")
    ending = dot + letters
    # Behind a bracket that nothing closes yet, another one would close it.
    if _ENDING.fullmatch(ending) is None or "[" in _SET.sub("", stem.rpartition("/")[2]):
        return pattern
    return stem + "".join(f"[{one.lower()}{one.upper()}]" if one.isalpha() else one for one in ending)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(glob_translate(pattern))


def split_glob(path: str, exists: Callable[[str], bool]) -> tuple[str, str]:
    """Split a path at its first wildcard that is not part of a name that exists.

    Args:
        path: path that may hold wildcards.
        exists: function that tells whether a file or folder of a name exists.

    Returns:
        The folder above the wildcard, and the glob below it, which is empty if the path is none.
    """
    if not WILDCARDS.intersection(path) or exists(path):
        return path, ""
    parts = path.split("/")
    for position, part in enumerate(parts):
        if WILDCARDS.intersection(part) and not exists("/".join(parts[: position + 1])):
            return "/".join(parts[:position]) or ("/" if position else ""), "/".join(parts[position:])
    return path, ""


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
        if position + 1 == len(parts) or _compiled(parts[position]).fullmatch(name) is None:
            return False
    return True
