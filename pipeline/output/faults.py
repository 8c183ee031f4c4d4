"""Tells an output that cannot be written, which its user can mend, from a machine that fails."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import DocpipeError, EngineError, OutputError
from pipeline.file_names import printable

_REFUSED = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
_MENDABLE = frozenset(
    {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EMLINK}
)


def explain(error: OSError, verb: str, where: str) -> DocpipeError:
    """Make the error that a command ends with from an error of the file system.

    Args:
        error: what the file system said.
        verb: what was tried, such as ``write``.
        where: path or URI.
    """
    theirs = isinstance(error, _REFUSED) or error.errno in _MENDABLE
    kind: type[DocpipeError] = OutputError if theirs else EngineError
    return kind(f"cannot {verb} {where}: {error}; check access and free space, then run the same command again")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Explain every error of the file system in the body, which writes to a path.

    Args:
        path: file or folder that is written.

    Raises:
        OutputError: the path cannot be written, or the disk is full.
        EngineError: the disk fails.
    """
    try:
        yield
    except OSError as error:
        raise explain(error, "write", str(path)) from error


def check_new_file(path: Path, flag: str = "--to") -> None:
    """Make sure that a file can have a name, before any work is spent.

    Args:
        path: file to write, which may exist.
        flag: the flag that names it.

    Raises:
        OutputError: it is a folder, device or pipe, or its folder does not exist or cannot be read.
        EngineError: the disk fails.
    """
    name = f"{flag} {printable(str(path))}"
    with writing(path):
        is_other, has_folder = path.exists() and not path.is_file(), path.parent.is_dir()
    if is_other:
        raise OutputError(f"{name}: expected a file or a new name, found a folder, device or pipe")
    if not has_folder:
        folder = printable(str(path.parent))
        raise OutputError(f"{name}: the folder {folder} does not exist; make it first, or choose another")


@contextmanager
def whole_file(to: Path, flag: str = "--to") -> Iterator[Path]:
    """Give a file to write in, which takes the name that is wanted once it is whole; until then the old file stays.

    Args:
        to: file that is wanted.
        flag: the flag that names it.

    Raises:
        OutputError: it cannot have that name, or the disk is full.
        EngineError: the disk fails.
    """
    target = Path(os.path.realpath(to))
    check_new_file(to, flag)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.touch()
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        nameless = OSError(error.errno, error.strerror)  # the name in the error is one that nobody gave
        raise explain(nameless, "write", str(to)) from error


def make_folder(path: Path) -> None:
    """Make a folder, unless it exists, and check that files can be made in it, before any work is spent.

    Args:
        path: the folder.

    Raises:
        OutputError: it is a file, or cannot be written.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
