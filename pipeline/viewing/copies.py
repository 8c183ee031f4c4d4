"""Puts copies of documents into a new folder: all of them, or none if the work fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.output.faults import make_folder, whole_file, writing
from pipeline.pages.apart import check_apart
from pipeline.viewing.published import Published

_MOST_NAME_BYTES = 200


class Copies:
    """The copies in a folder, named as the documents are below their input; what is no PDF gets ``.pdf`` behind it."""

    def __init__(self, to: Path) -> None:
        self._to = to
        self._files: list[Path] = []
        self._folders: list[Path] = []

    def put(self, copy: Path, document: str, document_id: str) -> None:
        """Bring a copy into the folder, under its name once it is whole.

        Args:
            copy: file that holds the copy, perhaps on another disk.
            document: path of the document below its input.
            document_id: id of the document, which tells documents of the same path apart.

        Raises:
            OutputError, EngineError: the file system refuses.
        """
        target = self._to / _name(document)
        blocked = [parent for parent in target.parents if parent.is_relative_to(self._to) and parent.is_file()]
        if target.exists() or blocked:  # a document of the same path, below another input
            target = self._to / _name(f"{document_id}-{document.rpartition('/')[2]}")
        with writing(target):
            self._folders += _missing(target.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            shutil.copyfile(copy, file)
        self._files.append(target)

    def take_back(self) -> None:
        """Remove all that was put into the folder; what others put there stays."""
        for file in self._files:
            with suppress(OSError):
                file.unlink()
        _remove(self._folders)


@contextmanager
def folder_for_copies(run: Published, to: Path) -> Iterator[Copies]:
    """Give a new or empty folder for copies, outside of the input, which is as before if the body fails.

    Args:
        run: what the run published.
        to: the folder.

    Raises:
        UsageError: it is a file, holds something, is inside of the input, or cannot be written.
    """
    check_apart(run.answers["source"].unique().to_pylist(), str(to), "--to")
    with writing(to):
        made = _missing(to)
        if to.is_dir() and any(to.iterdir()):
            raise UsageError(f"--to {to}: expected a new or an empty folder, so that nothing in it is replaced")
    copies = Copies(to)
    try:
        make_folder(to)
        yield copies
    except BaseException:  # an interrupted command can be given again, too
        copies.take_back()
        _remove(made)
        raise


def _missing(folder: Path) -> list[Path]:
    """List the folders that have to be made for a folder, from the top downwards."""
    return [path for path in (*reversed(folder.parents), folder) if not path.exists()]


def _remove(folders: list[Path]) -> None:
    for folder in reversed(folders):
        with suppress(OSError):  # somebody may have put a file there
            folder.rmdir()


def _name(path: str) -> Path:
    """Return the path of a copy, which never leads out of its folder."""
    parts = [_short(part) for part in path.split("/") if part not in ("", ".", "..")]
    name = Path(*parts) if parts else Path("document")
    return name if name.suffix.lower() == ".pdf" else name.with_name(f"{name.name}.pdf")


def _short(part: str) -> str:
    """Cut a name to what a file system takes, and leave its suffix."""
    if len(part.encode()) <= _MOST_NAME_BYTES:
        return part
    stem, dot, suffix = part.rpartition(".")
    suffix = f"{dot}{suffix}" if stem and len(suffix) < 10 else ""
    return part.encode()[: _MOST_NAME_BYTES - len(suffix.encode())].decode(errors="ignore") + suffix
