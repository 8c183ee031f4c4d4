"""Runs the same small job on many documents, in a few render children at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.pages.passwords import Passwords
from pipeline.pages.renderer import RenderChild
from pipeline.records import Document

_CHILDREN = 4  # more would wait for the disk
T = TypeVar("T")


def for_each_document(
    documents: Sequence[Document],
    do: Callable[[RenderChild, Document], T],
    results: dict[str, T],
    done: Callable[[], None],
    meanwhile: Callable[[], None] | None = None,
    passwords: Passwords | None = None,
) -> None:
    """Call ``do`` once per document.

    Args:
        documents: documents to work on.
        do: job for one document, which runs in a thread and handles :class:`pipeline.errors.PageError` itself.
        results: results of ``do`` by document id, filled during the work so that an interruption keeps them.
        done: function called after each document, from several threads but never at the same time.
        meanwhile: job for the calling thread, which otherwise waits; left out if there is no document.
        passwords: passwords of encrypted documents; ``None`` for none.
    """
    stop = threading.Event()
    one_at_a_time = threading.Lock()

    def share(child: RenderChild, mine: Sequence[Document]) -> None:
        with child:
            for document in mine:
                if stop.is_set():
                    return
                result = do(child, document)
                with one_at_a_time:
                    results[document.document_id] = result
                    done()

    shares = [documents[first::_CHILDREN] for first in range(min(_CHILDREN, len(documents)))]
    children = [RenderChild(passwords=passwords) for _ in shares]
    with ThreadPoolExecutor(_CHILDREN) as pool:
        try:
            begun = [pool.submit(share, child, mine) for child, mine in zip(children, shares, strict=True)]
            if begun and meanwhile is not None:
                meanwhile()
            for future in begun:
                future.result()
        finally:
            stop.set()  # the pool waits for its threads; they need not finish their shares
            for child in children:
                child.cancel()
