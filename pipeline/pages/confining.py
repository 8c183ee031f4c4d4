"""Takes from this process what a renderer does not need: the network, write access, privileges, large files."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct

_NEW_MOUNTS, _NEW_USERS, _NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000  # CLONE_NEWNS, _NEWUSER, _NEWNET
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_MOUNT_SETATTR, _HERE, _RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 1  # the same number on every architecture
_CAPABILITIES_VERSION, _READ_ANY_FILE = 0x20080522, 1 << 2  # CAP_DAC_READ_SEARCH
_MOST_OPEN_FILES = 64


def limit_resources(memory_bytes: int) -> None:
    """Limit address space, size of files and number of open ones; no core is dumped.

    Args:
        memory_bytes: most bytes of address space, and of a file.
    """
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: memory_bytes,
        resource.RLIMIT_NOFILE: _MOST_OPEN_FILES,
    }
    for kind, wanted in limits.items():
        _, hard = resource.getrlimit(kind)
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (limit, limit))


def confine() -> str | None:
    """Leave the network, make every file system read-only, and give up privileges, before any thread is started.

    Root keeps the right to read any file, since documents of other users are read too; others enter a user namespace.

    Returns:
        What the kernel refused, and why; ``None`` where all of it is done.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    users = 0 if os.geteuid() == 0 else _NEW_USERS
    refused = None
    if libc.unshare(_NEW_MOUNTS | _NEW_NETWORK | users):
        refused = f"network and write access: {_why()}"
    elif libc.syscall(_MOUNT_SETATTR, _HERE, b"/", _RECURSIVE, struct.pack("4Q", _READ_ONLY, 0, 0, 0), 32):
        refused = f"write access: {_why()}"
    kept = 0 if users else _READ_ANY_FILE
    header, sets = struct.pack("=Ii", _CAPABILITIES_VERSION, 0), struct.pack("=6I", kept, kept, 0, 0, 0, 0)
    if libc.capset(header, sets):  # of a container that has taken this one already
        libc.capset(header, bytes(24))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # other credentials took it, and with it the sight of /proc
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # which they took, too
    return refused


def _why() -> str:
    return os.strerror(ctypes.get_errno())
