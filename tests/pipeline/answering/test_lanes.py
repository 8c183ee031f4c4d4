from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator

import pytest

from pipeline.answering.lanes import in_lanes


def nothing() -> None:
    pass


def squares(numbers: Iterable[int]) -> Iterator[int]:
    for number in numbers:
        yield number * number


def lane_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("docpipe-lane")]


@pytest.mark.parametrize("lanes", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_every_item_is_worked_on_once(lanes: int, count: int) -> None:
    found = list(in_lanes(squares, (number for number in range(count)), lanes, nothing))
    assert sorted(found) == [number * number for number in range(count)]
    assert not lane_threads()


def test_lanes_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)

    def meet(numbers: Iterable[int]) -> Iterator[int]:
        for number in numbers:
            together.wait()
            yield number

    assert sorted(in_lanes(meet, range(6), 3, nothing)) == list(range(6))


def test_what_a_lane_works_on_depends_on_the_order_alone() -> None:
    """A slow lane keeps its items, and the others wait for it."""
    shares: dict[str, list[int]] = {}

    def unevenly(numbers: Iterable[int]) -> Iterator[int]:
        mine = shares.setdefault(threading.current_thread().name, [])
        for number in numbers:
            mine.append(number)
            time.sleep(0.01 if number % 3 == 0 else 0)
            yield number

    list(in_lanes(unevenly, range(60), 3, nothing))
    assert shares == {f"docpipe-lane-{lane}": list(range(lane, 60, 3)) for lane in range(3)}


def test_each_lane_begins_in_its_own_thread() -> None:
    begun: list[str] = []
    list(in_lanes(squares, range(3), 2, lambda: begun.append(threading.current_thread().name)))
    assert sorted(begun) == ["docpipe-lane-0", "docpipe-lane-1"]


@pytest.mark.parametrize("where", ["work", "items", "begin"])
def test_an_error_reaches_the_caller_and_ends_the_lanes(where: str) -> None:
    def items() -> Generator[int]:
        yield 1
        if where == "items":
            raise KeyError("in items")
        yield from range(2, 1000)

    def work(numbers: Iterable[int]) -> Iterator[int]:
        for number in numbers:
            if where == "work" and number == 5:
                raise KeyError("in work")
            yield number

    def begin() -> None:
        if where == "begin":
            raise KeyError("in begin")

    found: list[int] = []
    with pytest.raises(KeyError, match=where):
        found.extend(in_lanes(work, items(), 2, begin))
    assert len(found) < 1000
    assert not lane_threads()


def test_a_caller_that_stops_early_ends_lanes_and_items() -> None:
    closed = threading.Event()

    def items() -> Generator[int]:
        try:
            yield from range(10_000)
        finally:
            closed.set()

    def slowly(numbers: Iterable[int]) -> Iterator[int]:
        for number in numbers:
            time.sleep(0.001)
            yield number

    running = in_lanes(slowly, items(), 3, nothing)
    next(running)
    running.close()
    assert closed.is_set()
    assert not lane_threads()
