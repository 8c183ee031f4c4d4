"""Runs the same small job on many documents, in a few render children at a time, or in one where that is enough."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from pipeline.pages.passwords import Passwords
from pipeline.pages.renderer import RenderChild
from pipeline.records import Document

_CHILDREN = 4  # more would wait for the disk
_APART_S = 0.25  # as long as a child takes to start; one that has started opens a hundred documents meanwhile
_FIRST_S = 10.0  # in which the first document is done, if it does not hang
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
    left, begun, over = deque(documents), threading.Event(), threading.Event()
    one_at_a_time = threading.Lock()

    def work(child: RenderChild, number: int) -> None:
        if number > 0:
            begun.wait(_FIRST_S)
            over.wait(number * _APART_S)
        with child:
            while not over.is_set():
                try:
                    document = left.popleft()
                except IndexError:  # another thread was faster
                    break
                if not left:
                    over.set()  # no other child has to start any more
                result = do(child, document)
                with one_at_a_time:
                    results[document.document_id] = result
                    done()
                begun.set()

    children = [RenderChild(passwords=passwords) for _ in range(min(_CHILDREN, len(documents)))]
    with ThreadPoolExecutor(_CHILDREN) as pool:
        try:
            working = [pool.submit(work, child, number) for number, child in enumerate(children)]
            if working and meanwhile is not None:
                meanwhile()
            for future in wait(working, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            over.set()  # the pool waits for its threads; they need not finish what is left
            begun.set()
            for child in children:
                child.cancel()
