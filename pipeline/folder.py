"""A folder on any file system whose files appear whole or not at all."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePosixPath

import fsspec

from pipeline.errors import UsageError


class Folder:
    """A folder by path or fsspec URI. Names are relative, with "/" between the parts.

    Args:
        uri: a local path, or a URI such as ``s3://bucket/answers``.

    Raises:
        UsageError: there is no file system for this URI.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            self.fs, root = fsspec.url_to_fs(uri, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{uri}: {error}") from error
        self.root = root.rstrip("/") or "/"
        self.local = "file" in self.fs.protocol

    def path(self, name: str) -> str:
        """The full path of a name, as the file system takes it."""
        return f"{self.root.rstrip('/')}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Replace a file at once: a reader sees the old content or the new, never a part.

        Local files are written in the root of this folder, flushed to the disk and renamed into their place. So readers
        of a table never meet a temporary file, and its leading dot hides it from readers of the root. Object stores get
        one put under the final key.
        """
        path = self.path(name)
        if not self.local:
            self.fs.pipe_file(path, data)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(self.path(f".{target.name}.tmp-{os.getpid()}-{time.time_ns()}"))
        try:
            with scratch.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False where it does."""
        path = self.path(name)
        try:
            if self.local:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with Path(path).open("xb") as file:
                    file.write(data)
            else:
                self.fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """The content of a file; ``None`` where there is none."""
        try:
            data: bytes = self.fs.cat_file(self.path(name))
        except FileNotFoundError:
            return None
        return data

    def names(self, folder: str, suffix: str) -> list[str]:
        """The names (with ``folder/`` in front) of the files directly in a folder, sorted; hidden ones left out."""
        try:
            entries = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = sorted(PurePosixPath(entry).name for entry in entries)
        return [f"{folder}/{name}" for name in names if name.endswith(suffix) and not name.startswith(".")]

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""
        try:
            self.fs.rm_file(self.path(name))
        except FileNotFoundError:
            return
