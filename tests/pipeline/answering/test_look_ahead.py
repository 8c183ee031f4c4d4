from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.answering.look_ahead import look_ahead


def threads() -> set[threading.Thread]:
    """Those that look ahead, for whomever: what a test before this one has not closed may still be there."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("docpipe-look-ahead")}


@pytest.mark.parametrize("ahead", [1, 2, 9])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_order_is_kept(ahead: int, count: int) -> None:
    before = threads()
    assert [future.result() for future in look_ahead(range(count), lambda n: n * n, ahead)] == [
        n * n for n in range(count)
    ]
    assert threads() <= before


def test_it_works_in_another_thread_while_the_caller_is_busy() -> None:
    begun = [threading.Event() for _ in range(3)]

    def prepare(number: int) -> str:
        begun[number].set()
        return threading.current_thread().name

    for number, future in enumerate(look_ahead(range(3), prepare)):
        assert future.result().startswith("docpipe-look-ahead")
        if number < 2:
            assert begun[number + 1].wait(5)  # though nobody asked for it yet


@pytest.mark.parametrize("ahead", [1, 2])
def test_never_further_ahead_than_asked_for(ahead: int) -> None:
    taken: list[int] = []
    prepared: list[int] = []

    def items() -> Iterator[int]:
        for number in range(8):
            taken.append(number)
            yield number

    for number, future in enumerate(look_ahead(items(), prepared.append, ahead)):
        future.result()
        time.sleep(0.01)  # time enough for the thread to go too far
        assert max(taken) <= number + ahead
        assert max(prepared) <= number + ahead
    assert prepared == list(range(8))


def test_an_exception_comes_out_at_its_item() -> None:
    def prepare(number: int) -> int:
        if number == 1:
            raise LookupError("this one")
        return number

    found: list[int | str] = []
    for future in look_ahead(range(4), prepare, ahead=2):
        try:
            found.append(future.result())
        except LookupError as error:
            found.append(str(error))
    assert found == [0, "this one", 2, 3]


def test_closing_it_early_ends_the_thread() -> None:
    before = threads()
    begun, release = threading.Event(), threading.Event()
    prepared: list[int] = []

    def prepare(number: int) -> None:
        if number == 1:
            begun.set()
            release.wait(5)
        prepared.append(number)

    pages = look_ahead(range(9), prepare, ahead=3)
    next(pages).result()
    assert begun.wait(5)
    threading.Timer(0.05, release.set).start()
    pages.close()
    assert prepared == [0, 1]  # the one that had begun is finished, the others never begin
    assert threads() <= before
