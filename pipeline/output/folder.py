"""Reads and writes a folder on any file system; a file appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, cast

from fsspec.implementations.local import LocalFileSystem

from pipeline.addresses import as_os_errors, open_address
from pipeline.errors import UsageError
from pipeline.file_names import without_password
from pipeline.output.faults import explain


class Folder:
    """Named files below a local path or an fsspec URI; names are relative, with "/" as separator.

    On a local disk, a file is written under a hidden temporary name, synced and renamed. On an object store, it is
    uploaded in one request under its final name; closing a stream after an error would publish half a file there.

    Args:
        uri: path or URI, which need not exist; folders are made when something is written.

    Raises:
        UsageError: no installed file system handles the URI, or it is a file.
        OutputError, EngineError: the file system cannot be reached.
    """

    def __init__(self, uri: str) -> None:
        self.uri = without_password(uri)  # which stands in messages
        with self._explained("look at", ""):
            try:
                self.fs, root = open_address(uri)
            except (UsageError, ValueError, ImportError) as error:
                raise UsageError(f"{self.uri}: no file system handles this address: {error}") from error
            self.root = root.rstrip("/")
            self.local = isinstance(self.fs, LocalFileSystem)
            is_file = self.fs.isfile(self.root)
            if is_file or (self.local and os.path.exists(self.root) and not os.path.isdir(self.root)):
                found = "a file" if is_file else "a device, pipe or socket"
                raise UsageError(f"{self.uri}: expected a folder, found {found}; name a folder, or a new name")

    def path(self, name: str) -> str:
        """Return the full path of a name, in the form that the file system expects."""
        return f"{self.root}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file in one step.

        Args:
            name: name of the file in the folder.
            data: content of the file.

        Raises:
            OutputError: access is denied or the disk is full; the file is as it was before.
            EngineError: the disk fails.
        """
        with self._explained("write", name):
            if self.local:
                self._replace(self.path(name), data)
            else:
                self.fs.pipe_file(self.path(name), data)

    @contextmanager
    def place(self, name: str) -> Iterator[str]:
        """Create or replace a file of any size, which the body writes to the local path that it gets.

        On a local disk that is the hidden temporary name. For an object store it is a file elsewhere, which is uploaded
        once it is whole.

        Args:
            name: name of the file in the folder.

        Raises:
            OutputError: access is denied or a disk is full; the file is as it was before.
            EngineError: the disk fails.
        """
        path = self.path(name)
        with self._explained("write", name):
            if self.local:
                with self._replacing(path) as temporary:
                    yield temporary
                    descriptor = os.open(temporary, os.O_RDONLY)
                    try:
                        os.fsync(descriptor)
                    finally:
                        os.close(descriptor)
            else:
                with tempfile.TemporaryDirectory(prefix="docpipe-") as elsewhere:
                    yield f"{elsewhere}/file"
                    self.fs.put_file(f"{elsewhere}/file", path)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless it exists; only one of several concurrent callers gets ``True``.

        Args:
            name: name of the file in the folder.
            data: content of the file.

        Raises:
            OutputError: access is denied or the disk is full.
            EngineError: the disk fails.
        """
        with self._explained("write", name):
            path = self.path(name)
            try:
                if self.local:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    self._create(path, data)
                elif self.fs.exists(path):
                    return False
                else:
                    self.fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            return True

    def read(self, name: str) -> bytes | None:
        """Read a file; ``None`` if it does not exist.

        Args:
            name: name of the file in the folder.

        Raises:
            EngineError: the file exists but cannot be read.
        """
        with self._explained("read", name):
            try:
                return cast(bytes, self.fs.cat_file(self.path(name)))
            except FileNotFoundError:
                return None

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for reading at any position.

        Args:
            name: name of the file in the folder.

        Raises:
            EngineError: the file does not exist or cannot be read.
        """
        with self._explained("read", name), self.fs.open(self.path(name), "rb") as file:
            yield file

    def names(self, folder: str, suffix: str) -> list[str]:
        """List the files directly in a subfolder, sorted, as ``folder/name``; hidden files are left out.

        Args:
            folder: name of the subfolder.
            suffix: ending of the wanted names.

        Raises:
            EngineError: the folder cannot be listed.
        """
        return sorted(self._entries(folder, suffix, detail=False))

    def written_since(self, folder: str, suffix: str, since: datetime) -> dict[str, datetime]:
        """List the files directly in a subfolder that were written at some time or later, with that time in UTC.

        Args:
            folder: name of the subfolder.
            suffix: ending of the wanted names.
            since: the time.

        Raises:
            EngineError: the folder cannot be listed.
        """
        entries = self._entries(folder, suffix, detail=True)
        written = {name: _written_at(entry) for name, entry in sorted(entries.items())}
        return {name: at for name, at in written.items() if at >= since}

    def _entries(self, folder: str, suffix: str, detail: bool) -> dict[str, Any]:
        """List what a subfolder holds with this ending, by ``folder/name``, as the file system tells it."""
        with self._explained("list", folder):
            try:
                entries = self.fs.ls(self.path(folder), detail=detail)
            except FileNotFoundError:
                return {}
        paths = [entry["name"] if detail else entry for entry in entries]
        names = [path.rstrip("/").rsplit("/", 1)[-1] for path in paths]
        return {
            f"{folder}/{name}": entry
            for name, entry in zip(names, entries, strict=True)
            if name.endswith(suffix) and not name.startswith(".")
        }

    def delete(self, name: str) -> None:
        """Delete a file; a missing file is no error.

        Args:
            name: name of the file in the folder.

        Raises:
            OutputError: access is denied or the disk is full.
            EngineError: the disk fails.
        """
        with self._explained("delete", name):
            try:
                self.fs.rm_file(self.path(name))
            except FileNotFoundError:
                return

    def _create(self, path: str, data: bytes) -> None:
        with open(path, "xb") as file:
            try:
                file.write(data)
                file.flush()
            except OSError:
                os.unlink(path)  # a full disk takes names, but no content
                raise

    def _replace(self, path: str, data: bytes) -> None:
        with self._replacing(path) as temporary, open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _replacing(self, path: str) -> Iterator[str]:
        """Yield a temporary name, and rename what was written there."""
        folder, name = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        # Not next to the file: some readers open a whole folder as a table and fail on hidden files too.
        temporary = f"{self.root}/.{name}.tmp-{os.getpid()}-{time.monotonic_ns()}"
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _explained(self, verb: str, name: str) -> Iterator[None]:
        try:
            with as_os_errors():
                yield
        except OSError as error:
            where = f"{self.uri.rstrip('/')}/{name}" if name else self.uri
            raise explain(error, verb, where) from error


def _written_at(entry: Mapping[str, Any]) -> datetime:
    """Return when an entry of a listing was written, as its file system says; now where it does not."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        found = entry.get(key)
        if isinstance(found, int | float):
            return datetime.fromtimestamp(found, UTC)
        if isinstance(found, datetime):
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        if isinstance(found, str):
            return datetime.fromisoformat(found)
    return datetime.now(UTC)
