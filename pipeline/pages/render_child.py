"""Opens untrusted files in a process of its own, which may crash, hang or be killed while its parent goes on.

It has no network and writes no file, where the kernel allows to give that up.

Run as ``python -m pipeline.pages.render_child ANSWERS MEMORY``, with the file descriptor that answers go to, and the
limit of the address space in bytes. Standard input holds one JSON request per line. Each answer is one JSON line,
followed by as many raw bytes as its field ``bytes`` says. The first one says what could not be given up.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, BinaryIO

from pipeline.pages.confining import confine, limit_resources

# PyMuPDF imports these if they are installed, and with them a neural network that is not needed here.
_NOT_NEEDED = ("pymupdf.layout", "pymupdf4llm")


def main() -> None:
    """Answer requests until standard input ends."""
    descriptor, memory_bytes = (int(argument) for argument in sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    refused = confine()
    limit_resources(memory_bytes)
    for name in _NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # makes Python treat it as not installed
    from pipeline.pages.page_server import PageServer  # imported after the limit is set, so that its imports count

    server = PageServer()
    with os.fdopen(descriptor, "wb") as answers:
        _send(answers, {"not_confined": refused}, b"")
        # From here on nobody reads standard error, to which damaged files cause many messages.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for line in sys.stdin.buffer:
            _send(answers, *server.answer(json.loads(line)))


def _send(answers: BinaryIO, header: dict[str, Any], data: bytes) -> None:
    answers.write(json.dumps({**header, "bytes": len(data)}).encode() + b"\n")
    answers.write(data)
    answers.flush()


if __name__ == "__main__":
    main()
