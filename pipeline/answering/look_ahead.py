"""Prepares the next items in a thread while the caller works on the current one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def look_ahead(
    items: Iterable[Item], prepare: Callable[[Item], Result], ahead: int = 1
) -> Generator[Future[Result], None, None]:
    """Prepare items in one background thread, at most ``ahead`` beyond the last one yielded.

    Closing or exhausting the generator ends the thread; items that were not begun are dropped.

    Args:
        items: the items, taken one by one in the caller's thread.
        prepare: function called in the background, one item after the other.
        ahead: number of items that may be begun or ready beyond the current one, at least 1.

    Yields:
        The future of each item, in order. Its ``result()`` raises what ``prepare`` raised, without effect on later
        items.
    """
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="docpipe-look-ahead") as thread:
        try:
            for item in items:
                begun.append(thread.submit(prepare, item))
                if len(begun) > ahead:
                    yield begun.popleft()
            while begun:
                yield begun.popleft()
        finally:
            for future in begun:
                future.cancel()
