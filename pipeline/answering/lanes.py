"""Works through items in several threads at once, to which they are dealt in turn.

Where the steps of a model are short, threads inside its operations wait for each other more than they compute. Lanes
wait for nothing but the interpreter, which the operations leave free.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAITING = 4  # items that may wait for a slower lane
_ENDING_SECONDS = 2.0
"""Time that lanes have to end when the caller stops early; a lane inside a long operation is left to end by itself."""


@dataclass(frozen=True, slots=True)
class _Found(Generic[Result]):
    result: Result


@dataclass(frozen=True, slots=True)
class _Ended:
    error: BaseException | None


def in_lanes(
    work: Callable[[Iterable[Item]], Iterator[Result]],
    items: Iterable[Item] | Generator[Item],
    lanes: int,
    begin: Callable[[], None],
) -> Generator[Result, None, None]:
    """Run ``work`` in several threads on shares of the items, and yield what each yields, as it comes.

    Args:
        work: function that works through the items it is given; called once per lane.
        items: the items, taken one by one, in any of the threads; item n goes to lane n modulo ``lanes``.
        lanes: number of threads, at least 1.
        begin: function that is called in each thread before its work.

    Raises:
        BaseException: what one of the lanes raised; the others take no further item.
    """
    dealt = _Dealt(items, lanes)
    found: queue.SimpleQueue[_Found[Result] | _Ended] = queue.SimpleQueue()

    def run(lane: int) -> None:
        error: BaseException | None = None
        try:
            begin()
            for result in work(dealt.share(lane)):
                if dealt.stopped:
                    break
                found.put(_Found(result))
        except BaseException as raised:  # noqa: BLE001 - raised again in the caller's thread
            error = raised
        found.put(_Ended(error))

    threads = [
        threading.Thread(target=run, args=(lane,), name=f"docpipe-lane-{lane}", daemon=True) for lane in range(lanes)
    ]
    for thread in threads:
        thread.start()
    try:
        running = lanes
        while running:
            one = found.get()
            if isinstance(one, _Found):
                yield one.result
            elif one.error is not None:
                raise one.error
            else:
                running -= 1
    finally:
        dealt.stop()
        for thread in threads:
            thread.join(_ENDING_SECONDS)
        if isinstance(items, Generator) and not any(thread.is_alive() for thread in threads):
            items.close()


class _Dealt(Generic[Item]):
    """Deals items to lanes in turn, so that what a lane works on depends on the order of the items alone.

    A lane that is faster deals for the others too, up to ``_WAITING`` items each, before it waits for them.
    """

    def __init__(self, items: Iterable[Item], lanes: int) -> None:
        self._items = iter(items)
        self._waiting: list[deque[Item]] = [deque() for _ in range(lanes)]
        self._dealt = 0
        self._exhausted = False
        self._changed = threading.Condition()
        self.stopped = False

    def stop(self) -> None:
        """Give out no further item."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def share(self, lane: int) -> Iterator[Item]:
        """Yield the items of a lane as it asks for them."""
        while True:
            with self._changed:
                while not self.stopped and not self._waiting[lane] and not self._exhausted:
                    self._deal_or_wait()
                if self.stopped or not self._waiting[lane]:
                    return
                item = self._waiting[lane].popleft()
                self._changed.notify_all()
            yield item

    def _deal_or_wait(self) -> None:
        following = self._waiting[self._dealt % len(self._waiting)]
        if len(following) >= _WAITING:
            self._changed.wait()
            return
        try:
            following.append(next(self._items))
            self._dealt += 1
        except StopIteration:
            self._exhausted = True
        self._changed.notify_all()
