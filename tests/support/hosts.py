"""A file system whose addresses name a host, as those of sftp:// and smb:// do, and whose files need a password."""

from __future__ import annotations

from typing import Any

from fsspec.implementations.memory import MemoryFileSystem
from fsspec.utils import infer_storage_options

PASSWORD = "hunter2"


class HostFileSystem(MemoryFileSystem):
    protocol = "toyhost"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    cachable = False

    def __init__(self, host: str, username: str | None = None, password: str | None = None, **more: Any) -> None:
        if set(more) - {"use_listings_cache", "port"}:
            raise TypeError(f"unexpected {more}")
        if (host, username, password) != ("nas", "me", PASSWORD):
            raise PermissionError(f"{username} may not log in to {host}")
        super().__init__(**more)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(infer_storage_options(path)["path"]).strip("/") if "://" in path else path.rstrip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        options: dict[str, Any] = infer_storage_options(path)
        return {name: value for name, value in options.items() if name not in ("path", "protocol")}
