"""The answers are the same whatever memory there is; only how many pages are open at a time changes."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import glimpseprune as gp
from glimpseprune.decode.pool import DecodePool
from glimpseprune.decode.pool_cache import PoolCache
from glimpseprune.decode.step import Stepper
from glimpseprune.rule import KeepRule
from pipeline.answering.cache_memory import CacheMemory
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.prefilling import Prefiller
from pipeline.errors import PageError
from pipeline.records import Ask

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ASKS = [Ask(name, f"What is {name}?", "text", limit, KeepRule()) for name, limit in (("a", 9), ("b", 5), ("c", 7))]
PAGES = [(number, np.full((112, 84 + 28 * number, 3), 40 * number, np.uint8)) for number in range(5)]


@pytest.fixture(scope="module")
def loaded(tiny_base: Path, tiny_addon: Path) -> PageAnswerer:
    return PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


@pytest.fixture
def page_answerer(loaded: PageAnswerer) -> PageAnswerer:
    return PageAnswerer(loaded.model, loaded.processor)


@pytest.fixture(scope="module")
def want(loaded: PageAnswerer) -> dict[int, list[str]]:
    return {number: [one.text for one in loaded.answer_page(pixels, ASKS)] for number, pixels in PAGES}


def texts(page_answerer: PageAnswerer) -> dict[int, list[str]]:
    found = {}
    pages = [(number, partial(page_answerer.prepare, pixels, ASKS)) for number, pixels in PAGES]
    for number, answers in page_answerer.answer_pages(pages):
        assert not isinstance(answers, PageError)
        found[number] = [answer.text for answer in answers]
    return found


def test_the_caches_leave_room_for_the_largest_prefill_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    free, peaks, resets = [1000], [700], []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 500)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: peaks[0])
    memory = CacheMemory(CUDA, 300, lambda: free[0])
    free[0] = 0
    assert not memory.full(1 << 40)  # nothing is known yet
    with memory.prefill():
        pass
    assert (memory.prefill_peak_bytes, resets) == (200, [CUDA])
    for left, full in ((250, False), (249, True)):
        free[0] = left
        assert memory.full(0) == full
    peaks[0] = 600
    with memory.prefill():
        pass
    assert memory.prefill_peak_bytes == 200  # the largest counts
    peaks[0] = 9000
    with pytest.raises(torch.OutOfMemoryError), memory.prefill():
        raise torch.OutOfMemoryError("full")
    assert memory.prefill_peak_bytes == 200  # what failed says nothing


def test_memory_that_the_host_refuses_is_memory_that_ran_out() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="can't allocate memory"), CacheMemory(CPU, 300).prefill():
        torch.empty(10**15)
    with pytest.raises(RuntimeError, match="must match") as raised, CacheMemory(CPU, 300).prefill():
        torch.zeros(2) + torch.zeros(3)
    assert raised.type is RuntimeError


def test_pages_that_overlap_have_a_peak_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device has one peak, which begins anew with each prefill."""
    peak = [0]
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: peak.__setitem__(0, 0))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: peak[0])
    memory = CacheMemory(CUDA, 300, lambda: 1 << 40)

    def page(prefill_peak: int) -> int:
        mark = memory.begin()
        with memory.prefill():
            peak[0] = prefill_peak
        return mark

    peak[0] = 9000  # before the first page
    first, second, third = page(700), page(500), page(600)
    assert [memory.peak_since(mark) for mark in (first, second, third)] == [700, 600, 600]
    peak[0] = 650  # in a step of decode
    assert [memory.peak_since(mark) for mark in (first, second, third)] == [700, 650, 650]
    fourth = page(100)
    assert [memory.peak_since(mark) for mark in (first, second, third, fourth)] == [700, 650, 650, 100]
    on_cpu = CacheMemory(torch.device("cpu"), 300, lambda: 1 << 40)
    assert on_cpu.peak_since(on_cpu.begin()) is None


def test_what_the_pool_was_halved_to_stays_the_limit() -> None:
    memory = CacheMemory(CUDA, 300, lambda: 1 << 40)
    memory.ran_out(600)
    assert (memory.full(600), memory.full(601)) == (False, True)
    memory.ran_out(800)
    assert memory.limit_bytes == 600
    memory.ran_out(300)
    assert memory.limit_bytes == 300


def test_on_the_cpu_caches_take_no_more_than_the_weights() -> None:
    memory = CacheMemory(torch.device("cpu"), 400, lambda: 1000 * (os.cpu_count() or 1))
    assert (memory.full(400), memory.full(401)) == (False, True)


def test_on_the_cpu_each_process_has_its_part_of_half() -> None:
    memory = CacheMemory(torch.device("cpu"), 800, lambda: 1000 * (os.cpu_count() or 1))
    assert (memory.full(500), memory.full(501)) == (False, True)
    with memory.prefill():
        pass
    assert memory.prefill_peak_bytes == 0
    assert 0 < CacheMemory(torch.device("cpu"), 1 << 40).limit_bytes < 1 << 50


def count_opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sequences in the pool whenever a page's prefill begins."""
    held: list[int] = []
    original = Prefiller.prefill

    def counted(self: Prefiller, *args: Any) -> Any:
        held.append(len(args[-1]))
        return original(self, *args)

    monkeypatch.setattr(Prefiller, "prefill", counted)
    return held


@pytest.mark.parametrize("room", ["none", "some", "plenty"])
def test_the_answers_do_not_depend_on_the_limit(
    page_answerer: PageAnswerer, want: dict[int, list[str]], room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = count_opened(monkeypatch)
    page_answerer.memory.limit_bytes = {"none": 0, "some": 300_000, "plenty": 1 << 40}[room]
    assert texts(page_answerer) == want
    assert (max(held) == 0) == (room == "none")
    assert (held == [0, 3, 6, 9, 12]) == (room == "plenty")


def test_a_page_that_was_open_for_long_is_answered_before_another_begins(
    page_answerer: PageAnswerer, want: dict[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = count_opened(monkeypatch)
    page_answerer.memory.limit_bytes = 1 << 40
    looks = itertools.count(0.0, 4.0)  # each look at the clock comes 4 s after the one before
    clock = SimpleNamespace(monotonic=looks.__next__, perf_counter=time.perf_counter)
    # Only this module's clock: other threads look at the real one, which would count as well.
    monkeypatch.setattr("pipeline.answering.page_answerer.time", clock)
    assert texts(page_answerer) == want
    assert held == [0, 3, 0, 3, 0]  # two pages still decode together


def test_a_device_that_fills_up(
    page_answerer: PageAnswerer, want: dict[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is free follows what the pool holds; with two pages' sequences, no prefill would fit any more."""
    pools: list[DecodePool] = []
    original = PageAnswerer._pool

    def noted(self: PageAnswerer) -> DecodePool:
        pools.append(original(self))
        return pools[-1]

    monkeypatch.setattr(PageAnswerer, "_pool", noted)
    held = count_opened(monkeypatch)
    page_answerer.prefiller.memory = CacheMemory(CUDA, 300, lambda: 1000 - 100 * len(pools[-1]))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 400)
    assert texts(page_answerer) == want
    assert 0 < max(held) <= 5


def out_of_memory(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, fails: Callable[..., bool]) -> None:
    original = getattr(owner, name)

    def limited(*args: Any) -> Any:
        if fails(*args):
            raise torch.OutOfMemoryError("full")
        return original(*args)

    monkeypatch.setattr(owner, name, limited, raising=False)


def test_out_of_memory_while_decoding_lowers_the_limit_for_good(
    page_answerer: PageAnswerer, want: dict[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory(monkeypatch, Stepper, "run", lambda _, rows: len(rows) > 4)
    before = page_answerer.memory.limit_bytes
    assert texts(page_answerer) == want
    lowered = page_answerer.memory.limit_bytes
    assert 0 < lowered < before
    held = count_opened(monkeypatch)
    assert texts(page_answerer) == want
    assert max(held) <= 6
    assert page_answerer.memory.limit_bytes <= lowered


def test_out_of_memory_while_the_pool_grows(
    page_answerer: PageAnswerer, want: dict[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory(monkeypatch, PoolCache, "_make_room", lambda cache, rows, *_: rows > 2)
    assert texts(page_answerer) == want
    assert page_answerer.memory.limit_bytes < 1 << 30


def test_out_of_memory_in_prefill_first_finishes_what_is_in_the_pool(
    page_answerer: PageAnswerer, want: dict[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[DecodePool] = []
    original = PageAnswerer._pool

    def noted(self: PageAnswerer) -> DecodePool:
        pools.append(original(self))
        return pools[-1]

    monkeypatch.setattr(PageAnswerer, "_pool", noted)
    sizes: list[tuple[int, int]] = []

    def crowded(_: Any, prompts: list[Any], *__: Any) -> bool:
        sizes.append((len(pools[-1]), len(prompts)))
        return len(pools[-1]) > 0

    out_of_memory(monkeypatch, gp.EncodedPage, "prefill", crowded)
    assert texts(page_answerer) == want
    assert sizes == [(0, 3), (3, 3), (0, 3), (3, 3), (0, 3), (3, 3), (0, 3), (3, 3), (0, 3)]


def test_questions_are_halved_only_when_nothing_else_is_left(
    page_answerer: PageAnswerer, want: dict[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def large(_: Any, prompts: list[Any], *__: Any) -> bool:
        sizes.append(len(prompts))
        return len(prompts) > 2

    out_of_memory(monkeypatch, gp.EncodedPage, "prefill", large)
    assert texts(page_answerer) == want
    assert sizes == [3, 1, 2] + [3, 3, 1, 2] * 4


def test_a_pool_gives_back_what_the_finished_leave(
    page_answerer: PageAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = page_answerer._pool()
    sizes = []
    for number, pixels in PAGES:
        opened = page_answerer._open(page_answerer.prepare(pixels, ASKS), None, pool)
        opened.enter(pool, number)
    while len(pool):
        sizes.append(pool.nbytes)
        pool.step()
    assert sizes[-1] < sizes[0] / 2
    assert pool.nbytes == 0
    answers: list[ModelAnswer] = opened.answers(
        pool, PAGES[-1][0], page_answerer.processor, page_answerer.model.eos_token_ids
    )
    assert len(answers) == 3
