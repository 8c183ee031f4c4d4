"""Writes file names as text that Parquet, JSON and a shell can hold, and finds the files again.

Linux takes any bytes as a file name. Python shows bytes that are not UTF-8 as lone surrogates, which no table can hold.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import fsspec

from pipeline.records import Document

ROOT_MARK = "/./"
"""In an input, what follows this mark is the path below the input, as for ``rsync --relative``."""

_SURROGATE = re.compile("[\ud800-\udfff]")
# The addresses of repositories have other things there: github://owner:name@branch/folder.
_PASSWORD = re.compile(r"^(?!github:|git:)([A-Za-z][\w+.-]*://[^/:@]*):[^/]*(@)")
# Whoever has a signed address may read what it names.
_SIGNED = re.compile(
    r"(?<=[?&])([^=&#]*(?:token|secret|signature|sig|password|credential|key|keyid|code)=)[^&#]+", re.IGNORECASE
)
_WEB = re.compile(r"https?://", re.IGNORECASE)
_FILE_SCHEMES = ("file://", "local://")


def readable(name: str) -> str:
    r"""Write each byte of a name that is not UTF-8 as ``\xfc``.

    Args:
        name: name as Python has it from the operating system.
    """
    return _SURROGATE.sub(lambda found: _escaped(ord(found[0])), name)


def printable(name: str) -> str:
    """Escape what would break or recolour a line on a terminal, such as line ends.

    Args:
        name: any text.
    """
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in readable(name))
    return "".join(escaped)


def without_password(address: str) -> str:
    """Leave out the password of an address such as ``sftp://user:password@host/folder``, and signatures of web ones.

    Args:
        address: any path or URI.
    """
    named = same_for_all(address)
    return _SIGNED.sub(r"\1", named) if _WEB.match(named) else named


def same_for_all(address: str) -> str:
    """Leave out the password only, so that addresses of two files stay two.

    Args:
        address: any path or URI.
    """
    return _PASSWORD.sub(r"\1\2", address)


def without_secrets(message: str, address: str) -> str:
    """Leave out of a message what :func:`without_password` leaves out of an address.

    Args:
        message: what a library said about the address.
        address: any path or URI.
    """
    told = message.replace(address, without_password(address))
    secrets = [found[0].removeprefix(found[1]) for found in _SIGNED.finditer(address)] if _WEB.match(address) else []
    if found := _PASSWORD.match(address):
        secrets.append(found[0].removeprefix(found[1])[1:-1])
    for secret in secrets:
        for written in {secret, unquote(secret)}:
            told = told.replace(written, "***")
    return told


def local_uri(path: str) -> str:
    """Return a local path as the ``uri`` of a document: unchanged, or percent-encoded if it is not UTF-8.

    Args:
        path: absolute path.
    """
    return Path(path).as_uri() if _SURROGATE.search(path) else path


def local_path(uri: str) -> str | None:
    """Return the local path that :func:`local_uri` was given; ``None`` for a remote document.

    Args:
        uri: ``uri`` of a document.
    """
    if uri.startswith("file://"):
        return _unquoted(uri.removeprefix("file://"))
    return uri if uri.startswith("/") else None


def local_input(given: str) -> str | None:
    """Return the local path that an address names; ``None`` if it is a URI of another file system.

    A name that exists is taken literally, whatever it looks like, and so is a new name in a folder that exists, unless
    it begins like the URI of a file system that is known. The percent signs of a ``file://`` URI are decoded only where
    that leads to a file or folder, and the URI as it stands does not.

    Args:
        given: input, output or file as a user gives it.
    """
    if os.path.lexists(given):
        return given
    for scheme in _FILE_SCHEMES:
        if given.startswith(scheme):
            names = (given.removeprefix(scheme), _unquoted(given.removeprefix(scheme)))
            return next((name for there in (os.path.lexists, _may_be_new) for name in names if there(name)), names[0])
    if "://" not in given:
        return os.path.expanduser(given)
    return given if _may_be_new(given) and not _is_protocol(given.partition("://")[0]) else None


def input_of(document: Document) -> str:
    """Return the input that finds this document alone, with the same path below it and without a password.

    Args:
        document: document of a listing.
    """
    uri = without_password(document.uri)
    parts = uri.rstrip("/").split("/")
    names = [readable(name) for name in (local_path(uri) or uri).rstrip("/").split("/")]
    path = document.path.rstrip("/").split("/")
    # A path may go on inside of the file, so it need not end where the address does.
    depth = next((count for count in range(len(path), 1, -1) if names[-count:] == path[:count]), 1)
    return uri if depth == 1 else "/".join(parts[:-depth]) + ROOT_MARK + "/".join(parts[-depth:])


def _may_be_new(path: str) -> bool:
    return os.path.isdir(os.path.dirname(path.rstrip("/")))


def _is_protocol(name: str) -> bool:
    try:
        fsspec.get_filesystem_class(name)
    except ValueError:
        return False
    except ImportError:  # of the library that handles it
        return True
    return True


def _escaped(code: int) -> str:
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _unquoted(path: str) -> str:
    return os.fsdecode(unquote_to_bytes(path))
