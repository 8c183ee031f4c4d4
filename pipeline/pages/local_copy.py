"""Brings a document to a local path that every library can open."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from pipeline.addresses import as_os_errors, open_remote
from pipeline.errors import DocpipeError, EngineError, PageError
from pipeline.file_names import local_path, without_password, without_secrets
from pipeline.pages.unchanged import check_unchanged_remote
from pipeline.records import Document
from pipeline.temporary import TemporaryFolder

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class LocalCopy:
    """Keeps a copy of the remote document that was asked for last."""

    def __init__(self) -> None:
        self._made: tuple[Document, TemporaryFolder] | None = None

    def of(self, document: Document) -> Path:
        """Return a local path of a document; a remote one is copied, and replaces the last copy.

        A name that is not UTF-8 is reached through a link, since the libraries take names in UTF-8 only.

        Args:
            document: document to open.

        Raises:
            PageError: the document is gone, has changed since it was listed, or cannot be read.
            EngineError: its store does not answer, or there is no room for the copy; as a failure of the document, it
                would be recorded for good.
        """
        local = local_path(document.uri)
        if local == document.uri:
            return Path(local)
        if self._made is not None and self._made[0] == document:
            return self._made[1].path / "document"
        self.drop()
        try:
            folder = TemporaryFolder()
        except OSError as error:
            raise _no_room(error) from error
        self._made, target = (document, folder), folder.path / "document"
        try:
            if local is not None:
                target.symlink_to(local)
            else:
                _fetch(document, target)
        except PageError:
            self.drop()
            raise
        except FileNotFoundError as error:
            self.drop()
            raise PageError("open", "DocumentNotFound", "the file is gone since it was listed") from error
        except (OSError, ValueError, ImportError) as error:
            self.drop()
            raise _explained(document.uri, error) from error
        return target

    def listed(self, document: Document) -> list[int | str] | None:
        """Return size and modification time that the file at the local path has to have; ``None`` for a copy.

        Args:
            document: document to open.
        """
        if local_path(document.uri) is None or not document.version:
            return None
        return [document.size_bytes, document.version]

    def drop(self) -> None:
        """Delete the copy."""
        if self._made is not None:
            self._made[1].delete()
        self._made = None


def _fetch(document: Document, target: Path) -> None:
    with as_os_errors():
        fs, path = open_remote(document.uri)
        fs.get_file(path, str(target))
        fs.invalidate_cache(path)  # of the listing
        info = fs.info(path)
    check_unchanged_remote(document.size_bytes, document.version, info)


def _explained(uri: str, error: Exception) -> DocpipeError:
    """Tell a document that cannot be read from a store that does not answer, and from a full disk."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return _no_room(error)
    reason = f"{without_password(uri)} cannot be fetched: {without_secrets(str(error), uri)}"
    if isinstance(error, PermissionError | ValueError) or _answers(uri):
        return PageError("open", "DocumentUnreadable", reason)
    return EngineError(f"{reason}; once its store answers, run the same command again")


def _answers(uri: str) -> bool:
    """Tell whether the store of a document says anything of it."""
    try:
        with as_os_errors():
            fs, path = open_remote(uri)
            fs.info(path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError, ImportError):
        return False
    return True


def _no_room(error: OSError) -> EngineError:
    return EngineError(
        f"a remote document cannot be copied to {tempfile.gettempdir()}: {error}; make room there, or set TMPDIR, then "
        "run the same command again"
    )
