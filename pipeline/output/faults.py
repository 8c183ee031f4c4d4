"""Tells an output that cannot be written, which its user can mend, from a machine that fails."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import DocpipeError, EngineError, OutputError

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
