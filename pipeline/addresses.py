"""Finds the file system that an address stands for, local or remote, and the name on it."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import UsageError
from pipeline.file_names import local_input

# botocore gives up after five tries, which a busy bucket outlasts; these take about a minute.
_PATIENT = {"s3": {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 10}}}}
_CHAINED = re.compile(r"[\w+.-]+::|(zip|tar|libarchive)://|.*::.*://", re.DOTALL)
_NUMBERS = {
    "NoCredentialsError": errno.EACCES,
    "PartialCredentialsError": errno.EACCES,
    "ProfileNotFound": errno.EACCES,
    "ParamValidationError": errno.EINVAL,
    401: errno.EACCES,
    403: errno.EACCES,
    404: errno.ENOENT,
    410: errno.ENOENT,
}
"""Error numbers of the system for errors of botocore and for statuses of the web; others are of input and output."""


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

    fsspec's own function would take ``::`` in a name for a chain of file systems. Its configuration overrides how often
    calls are tried again.

    Args:
        uri: address with a protocol, such as ``s3://bucket/name``.

    Raises:
        ValueError: no file system is known by this protocol, or the address lacks a part.
        ImportError: the library of the file system is not installed.
        OSError: the file system cannot be reached.
    """
    system = fsspec.get_filesystem_class(uri.partition("://")[0])
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    configured = fsspec.config.conf.get(protocol, {})
    patient = {key: value for key, value in _PATIENT.get(protocol, {}).items() if key not in configured}
    options = system._get_kwargs_from_urls(uri)  # such as the host; fsspec has no public name for it
    path = str(system._strip_protocol(uri))
    if "host" in options:  # what follows it is a name, in which fsspec would take ? and # for marks of a URL
        host, name = _split_host(uri)
        options, path = system._get_kwargs_from_urls(host), f"/{name}"
    try:
        # Other processes write too; a cached listing would hide what they finished.
        fs = system(**options, **patient, use_listings_cache=False)
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


@contextmanager
def as_os_errors() -> Iterator[None]:
    """Raise what the libraries of S3 and the web raise in the body as :class:`OSError`, as other file systems do.

    Raises:
        OSError: there are no credentials, access is denied, the address lacks a part, or nothing answers.
    """
    try:
        yield
    except _errors_of_libraries() as error:
        if isinstance(error, OSError):
            raise
        message = " ".join(str(error).split())
        status = getattr(error, "status", type(error).__name__)
        raise OSError(_NUMBERS.get(status, errno.EIO), message) from error


def _errors_of_libraries() -> tuple[type[Exception], ...]:
    """Return the classes of errors that botocore and aiohttp raise, as far as they are loaded."""
    names = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    return tuple(getattr(sys.modules[module], name) for module, name in names if module in sys.modules)


def _split_host(uri: str) -> tuple[str, str]:
    protocol, _, rest = uri.partition("://")
    host, _, name = rest.partition("/")
    return f"{protocol}://{host}", name
