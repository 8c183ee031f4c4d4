"""The next items are made ready in a thread while the present one is worked on."""

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
    """Prepare items in one background thread, at most ``ahead`` beyond the one that was handed out last.

    Closing the generator, or leaving it to the end, ends the thread; what was not begun is dropped.

    Args:
        items: taken one by one, by the caller's thread.
        prepare: called in the background, one item after the other.
        ahead: items that may be begun or ready beyond the present one, at least 1.

    Yields:
        The future of each item, in order; what ``prepare`` raised comes out of its ``result()``, and the items after it
        are not touched by that.
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
