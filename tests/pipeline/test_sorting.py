from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import sorting
from pipeline.errors import OutputError
from pipeline.sorting import bounds_of, in_order


def tables(rows: int, size: int) -> list[pa.Table]:
    """Rows in any order, of which up to five have the same name; some of the names are not ASCII."""
    numbers = list(range(rows))
    random.Random(3).shuffle(numbers)
    names = [f"{'ü' if number % 7 == 0 else 'u'}{number // 5:04d}" for number in numbers]
    whole = pa.table({"name": names, "n": numbers, "pages": [[number] for number in numbers]})
    return [whole.slice(start, size) for start in range(0, rows, size)]


@pytest.mark.parametrize(("rows", "ranges"), [(100, 10), (1, 256), (1_000, 1), (10_000, 1)])
def test_ranges_come_in_order_and_leave_nothing_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, ranges: int
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    given = tables(1_000, 64)
    bounds = bounds_of((table["name"] for table in given), rows)
    found = list(in_order(iter(given), bounds, ("name", "n")))
    expected = pa.concat_tables(given).sort_by([("name", "ascending"), ("n", "ascending")])
    assert pa.concat_tables(found).to_pydict() == expected.to_pydict()
    assert ranges * 0.6 < len(found) <= ranges
    assert max(map(len, found)) < max(rows, 4) + 15
    names = [set(table["name"].to_pylist()) for table in found]
    assert sum(map(len, names)) == len(set.union(*names)), "a name is in two ranges"
    assert os.listdir(tmp_path) == []


def test_no_rows_are_no_range() -> None:
    assert bounds_of(iter([]), 10) == []
    assert list(in_order(iter([]), [], ("name",))) == []
    assert list(in_order(iter([]), ["a"], ("name",))) == []


def test_a_disk_without_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Iterator[None]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sorting, "_divide", full)
    with pytest.raises(OutputError, match="the temporary folder cannot hold .*let TMPDIR name a folder"):
        list(in_order(iter(tables(10, 5)), ["u0001"], ("name",)))
