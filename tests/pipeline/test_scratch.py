from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import scratch as module
from pipeline.errors import OutputError
from pipeline.scratch import Scratch, portions

NUMBERS = pa.schema([("n", pa.int64()), ("text", pa.string())])


def numbers(values: list[int]) -> pa.Table:
    return pa.table({"n": pa.array(values, pa.int64()), "text": [f"{value:030d}" for value in values]})


def test_more_rows_than_memory_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY", "64MB")
    values = list(range(600_000))  # some 30 MB, and their sorted copy
    random.Random(1).shuffle(values)
    with Scratch() as scratch:
        scratch.create("numbers", NUMBERS)
        for portion in portions(values, 50_000):
            scratch.add("numbers", numbers(portion))
        read = list(scratch.read("select n, text from numbers order by text", 7_000))
        assert max(map(len, read)) <= 7_000
        assert pa.concat_tables(read)["n"].to_pylist() == list(range(600_000))
        twice = scratch.read("select a.n from numbers a join numbers b using (text) order by text")
        assert sum(map(len, twice)) == 600_000


def test_a_table_is_read_while_another_grows() -> None:
    with Scratch() as scratch:
        for name in ("one", "two"):
            scratch.create(name, NUMBERS)
        scratch.add("one", numbers(list(range(100))))
        for rows in scratch.read("select * from one order by n", 10):
            scratch.add("two", rows)
            scratch.add("one", numbers([1_000]))  # which whoever reads does not see
        assert scratch.value("select count(*) from two") == 100
        assert scratch.value("select count(*) from one") == 110
        assert scratch.value("select sum(n) from one where n < 0") == 0
        found = scratch.read_with(pa.table({"n": [5, 500]}), "select n from given semi join two using (n)")
        assert found["n"].to_pylist() == [5]


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Scratch() as scratch:
        scratch.create("numbers", NUMBERS)
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


def test_a_disk_without_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY", "12MB")
    with Scratch() as scratch:
        scratch.run("set max_temp_directory_size = '1MB'")
        scratch.create("numbers", NUMBERS)
        with pytest.raises(OutputError, match="the temporary folder cannot hold .*let TMPDIR name a folder"):
            sort_much(scratch)


def sort_much(scratch: Scratch) -> None:
    for portion in portions(range(900_000), 100_000):
        scratch.add("numbers", numbers(portion))
        list(scratch.read("select * from numbers order by text, n desc"))


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Python's own handler: what a shell runs in the background ignores Ctrl-C, and so would the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


LONG = "select sum(hash(i)) from range(400000000) r(i)"  # which may end before it notices


@pytest.mark.parametrize(
    "work",
    [
        lambda scratch: scratch.run(f"create table t as {LONG}"),
        lambda scratch: scratch.value(LONG),
        lambda scratch: list(scratch.read(LONG)),
        lambda scratch: all(
            len(rows) for rows in scratch.read("select hash(i) as h from range(4000000000) r(i)", 1_000)
        ),
        lambda scratch: scratch.read_with(numbers([1]), LONG),
    ],
)
def test_ctrl_c_ends_whatever_is_at_work(work: Callable[[Scratch], Any], heeds_ctrl_c: None) -> None:
    with Scratch() as scratch:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            work(scratch)
        assert scratch.value("select 7") == 7


def test_no_rows_make_no_portion() -> None:
    assert list(portions([], 3)) == []
