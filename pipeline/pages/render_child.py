"""The process that opens files nobody vouches for. It may crash, hang or be killed; its parent lives on.

``python -m pipeline.pages.render_child ANSWERS MEMORY``: the file descriptor that answers go to, and the limit of the
address space in bytes. One JSON request a line on standard input; for each, one JSON line followed by ``bytes`` raw
bytes.
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
# PyMuPDF imports these where they are installed, and with them a neural network that nobody asks here.
_NOT_NEEDED = ("pymupdf.layout", "pymupdf4llm")


def main() -> None:
    """Answer requests until standard input ends."""
    descriptor, memory_bytes = (int(argument) for argument in sys.argv[1:])
    _limit(memory_bytes)
    for name in _NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # to Python: it is not installed
    from pipeline.pages.page_server import PageServer  # only now: what it imports has to fit into the limit

    server = PageServer()
    with os.fdopen(descriptor, "wb") as answers:
        _send(answers, {}, b"")
        # From here on nobody reads complaints, of which damaged files cause many.
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
