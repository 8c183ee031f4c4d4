"""Finds the files of a benchmark in a local folder, and says what is missing and where to get it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.datasets.layout import wrong_field
from pipeline.errors import UsageError

_Row = TypeVar("_Row", bound=BaseModel)


class Lenient(BaseModel):
    """A row whose unused fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class BenchmarkFolder:
    """Looks for the files of a benchmark in a folder.

    Args:
        data: the folder, or the file of one split in it.
        source: where the files are to be had, for messages.

    Attributes:
        root: the folder.

    Raises:
        UsageError: there is no such folder or file.
    """

    def __init__(self, data: Path, source: str) -> None:
        path = data.expanduser()
        if not path.exists():
            raise UsageError(f"--data {data}: there is no such folder or file; get the benchmark from {source}")
        self.given = path if path.is_file() else None
        self.root = path.parent if path.is_file() else path
        self.source = source
        self._where: dict[tuple[str, ...], list[Path]] = {}

    def annotation(self, *patterns: str) -> Path:
        """Find a file by the first of several patterns that fits, or take the file that was given.

        Args:
            *patterns: globs of the file's name, the usual split first; the file may be in a folder.

        Raises:
            UsageError: no file fits.
        """
        return self.given or self.file(*patterns)

    def file(self, *patterns: str) -> Path:
        """Find a file by the first of several patterns that fits.

        Args:
            *patterns: globs of the file's name; the file may be in a folder.

        Raises:
            UsageError: no file fits.
        """
        for pattern in patterns:
            found = sorted([*self.root.glob(pattern), *self.root.glob(f"*/{pattern}")])
            if found:
                return found[0]
        raise UsageError(
            f"--data {self.root}: expected a file {' or '.join(patterns)} in it or in a folder of it, found none; get "
            f"it from {self.source}"
        )

    def image(self, near: Path, names: Sequence[str], folders: Sequence[str]) -> Path:
        """Find an image.

        Args:
            near: file that names it.
            names: names that it may have; a name may hold folders.
            folders: folders that it may be in, below the root or beside the file.

        Raises:
            UsageError: it is in none.
        """
        bases = [base / folder for base in dict.fromkeys((near.parent, self.root, near.parent.parent))
                 for folder in ("", *folders)]  # fmt: skip
        for base in bases:
            for name in names:
                if (base / name).is_file():
                    return base / name
        raise UsageError(
            f"{near}: image {names[0]} is in none of the folders {', '.join(folders)} of {self.root}; get the images "
            f"from {self.source}"
        )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: the file.

    Raises:
        UsageError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected JSON: {error}") from error


def rows_of(path: Path, entries: Any, row: type[_Row]) -> list[_Row]:
    """Check the entries of a file.

    Args:
        path: the file, for messages.
        entries: what should be a list of objects.
        row: layout of an object.

    Raises:
        UsageError: an entry has another layout.
    """
    if not isinstance(entries, list):
        raise UsageError(f"{path}: expected a list of questions, found {type(entries).__name__}; is it the right file?")
    rows = []
    for number, entry in enumerate(entries):
        try:
            rows.append(row.model_validate(entry))
        except ValidationError as error:
            raise UsageError(f"{path}: entry {number}: {wrong_field(error)}; is it the right file?") from error
    return rows


def under(path: Path, raw: Any, key: str) -> Any:
    """Return the value of a key of the object in a file.

    Args:
        path: the file, for messages.
        raw: what is in it.
        key: the key.

    Raises:
        UsageError: there is no object with this key.
    """
    if not isinstance(raw, dict) or key not in raw:
        raise UsageError(f"{path}: expected an object with {key!r}; is it the right file?")
    return raw[key]


def write_json(entries: Iterable[Any], path: Path) -> None:
    """Write a list as JSON.

    Args:
        entries: the list.
        path: file to write.
    """
    path.write_text(json.dumps(list(entries), ensure_ascii=False) + "\n", encoding="utf-8")
