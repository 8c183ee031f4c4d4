"""Finds the file system that an address stands for, local or remote, and the name on it."""

from __future__ import annotations

import os
import re
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import UsageError
from pipeline.file_names import local_input

_CHAINED = re.compile(r"[\w+.-]+::|(zip|tar|libarchive)://|.*::.*://", re.DOTALL)


def open_address(given: str) -> tuple[Any, str]:
    """Return the file system of what a user names, and the name of the file or folder on it.

    Args:
        given: path or URI; a local name is taken literally, whatever it looks like.

    Raises:
        UsageError: the address is chained.
        ValueError: no file system is known by this protocol, or the address lacks a part.
        ImportError: the library of the file system is not installed.
        OSError: the file system cannot be reached.
    """
    path = local_input(given)
    if path is not None:
        return LocalFileSystem(use_listings_cache=False), os.path.abspath(path)
    if _CHAINED.match(given):
        raise UsageError("chained addresses are not supported; unpack or copy the files first")
    return open_remote(given)


def open_remote(uri: str) -> tuple[Any, str]:
    """Return the file system of an address and the name of the file on it.

    fsspec's own function would take ``::`` in a name for a chain of file systems.

    Args:
        uri: address with a protocol, such as ``s3://bucket/name``.

    Raises:
        ValueError: no file system is known by this protocol, or the address lacks a part.
        ImportError: the library of the file system is not installed.
        OSError: the file system cannot be reached.
    """
    system = fsspec.get_filesystem_class(uri.partition("://")[0])
    options = system._get_kwargs_from_urls(uri)  # such as the host; fsspec has no public name for it
    path = str(system._strip_protocol(uri))
    if "host" in options:  # what follows it is a name, in which fsspec would take ? and # for marks of a URL
        host, name = _split_host(uri)
        options, path = system._get_kwargs_from_urls(host), f"/{name}"
    try:
        # Other processes write too; a cached listing would hide what they finished.
        fs = system(**options, use_listings_cache=False)
    except TypeError as error:  # an option is missing, such as the host
        raise ValueError(f"the address does not say enough: {error}") from error
    return fs, path


def remote_uri(given: str, fs: Any, path: str) -> str:
    """Return the address of a file, from which :func:`open_remote` finds it again.

    Args:
        given: address of the folder or file that was searched.
        fs: file system of that address.
        path: name of the file on it.
    """
    uri = str(fs.unstrip_protocol(path))
    system = type(fs)
    if system._get_kwargs_from_urls(uri) == system._get_kwargs_from_urls(given):
        return uri
    return f"{_split_host(given)[0]}/{path.lstrip('/')}"  # some file systems leave their host out


def _split_host(uri: str) -> tuple[str, str]:
    protocol, _, rest = uri.partition("://")
    host, _, name = rest.partition("/")
    return f"{protocol}://{host}", name
