"""Opens untrusted files in a process of its own, which may crash, hang or be killed while its parent goes on.

Run as ``python -m pipeline.pages.render_child ANSWERS MEMORY``, with the file descriptor that answers go to, and the
limit of the address space in bytes. Standard input holds one JSON request per line. Each answer is one JSON line,
followed by as many raw bytes as its field ``bytes`` says.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

_PR_SET_PDEATHSIG = 1
# PyMuPDF imports these if they are installed, and with them a neural network that is not needed here.
_NOT_NEEDED = ("pymupdf.layout", "pymupdf4llm")


def main() -> None:
    """Answer requests until standard input ends."""
    descriptor, memory_bytes = (int(argument) for argument in sys.argv[1:])
    _limit(memory_bytes)
    for name in _NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # makes Python treat it as not installed
    from pipeline.pages.page_server import PageServer  # imported after the limit is set, so that its imports count

    server = PageServer()
    with os.fdopen(descriptor, "wb") as answers:
        _send(answers, {}, b"")
        # From here on nobody reads standard error, to which damaged files cause many messages.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for line in sys.stdin.buffer:
            _send(answers, *server.answer(json.loads(line)))


def _limit(memory_bytes: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _send(answers: BinaryIO, header: dict[str, Any], data: bytes) -> None:
    answers.write(json.dumps({**header, "bytes": len(data)}).encode() + b"\n")
    answers.write(data)
    answers.flush()


if __name__ == "__main__":
    main()
