"""Merged parts hold what the parts held, whenever the process dies."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.output import publish as publishing
from pipeline.output.compact import Compacted, compact
from pipeline.output.completed import COMPACTED
from pipeline.output.folder import Folder
from pipeline.output.live import Running, Watcher, write_running
from pipeline.output.lock import OutputLock
from pipeline.output.parts import part_id, part_ids, read_rows
from pipeline.output.schema import COMMITTED
from pipeline.output.store import OutputStore
from pipeline.results import BundleResult
from tests.support.bundles import result_of, units_and_bundles
from tests.support.published import published, results_for, store_at, tables
from tests.support.s3_server import s3_bucket

KILLS = 6  # of two groups, a file each that is written, and two that are deleted


class CrashError(BaseException):
    """Stands for a process that is gone."""


def halves(result: BundleResult) -> list[BundleResult]:
    """The same rows in two parts, which divide the units with several pages."""
    found = []
    for half in (0, 1):
        units = [
            dataclasses.replace(unit, pages=unit.pages[half::2], whole=len(unit.pages) == 1)
            for unit in result.bundle.units
            if unit.pages[half::2]
        ]
        rows = {(unit.unit_id, page) for unit in units for page in unit.pages}
        answers = tuple(answer for answer in result.answers if (answer.unit_id, answer.page) in rows)
        pages = result.pages if half == 0 else ()
        bundle = dataclasses.replace(result.bundle, units=tuple(units))
        found.append(dataclasses.replace(result, bundle=bundle, answers=answers, pages=pages))
    return found


def filled(uri: str, monkeypatch: pytest.MonkeyPatch) -> OutputStore:
    """Parts of which some hold a unit together, in several published groups."""
    monkeypatch.setattr(publishing, "PARTS_PER_FILE", 2)
    first, *others = results_for([40, 3, None, 33])
    store = store_at(uri)
    for result in [*halves(first), *others]:
        store.commit(result)
    published(store)
    return store


def live_rows(uri: str) -> list[tuple[Any, ...]]:
    """The rows of all parts that count, as whoever reads parts finds them."""
    folder = Folder(uri)
    parts = list(OutputStore(folder).parts())
    rows = (row for found in read_rows(folder, parts, ["answers"]) for row in found["answers"].to_pylist())
    return sorted((row["document_id"], row["page"] or 0, row["question_id"], row["answer"]) for row in rows)


def test_what_is_merged_is_what_there_was(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(uri, monkeypatch)
    expected, rows, done = tables(uri), live_rows(uri), store.done()
    folder = Folder(uri)
    files = {name: folder.read(name) for name in folder.names("answers", "") + folder.names("failures", "")}
    groups = len(folder.names("answers", ".parquet"))
    before = len(part_ids(folder))
    assert before > groups > 1
    assert compact(folder) == Compacted(before, groups)
    assert len(part_ids(folder)) == groups
    assert sum(part.startswith(COMPACTED) for part in part_ids(folder)) > 1
    assert live_rows(uri) == rows
    assert store_at(uri).done() == done
    published(store_at(uri))
    assert tables(uri) == expected
    assert {name: folder.read(name) for name in files} == files, "a table was written again"
    assert compact(folder) == Compacted(groups, groups)


def test_tables_are_made_again_from_merged_parts(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(uri, monkeypatch)
    expected = tables(uri)
    compact(Folder(uri))
    folder = Folder(uri)
    for gone in (["failures"], ["answers"], ["pages", "documents"]):
        for name in [name for table in gone for name in folder.names(table, ".parquet")]:
            folder.delete(name)
        published(store_at(uri))
        assert tables(uri) == expected


def copied(uri: str, to: str) -> str:
    folder, other = Folder(uri), Folder(to)
    for table in ("parts", "answers", "failures", "pages", "documents"):
        for name in folder.names(table, ""):
            other.write(name, folder.read(name) or b"")
    return to


def fuse(monkeypatch: pytest.MonkeyPatch, left: list[int]) -> None:
    """Let a change of a part crash once so many, ``left[0]``, have been made; a negative number never comes to 0."""

    def fused(original: Any) -> Any:
        def wrapped(folder: Folder, name: str, *args: Any) -> Any:
            if name.startswith("parts/"):
                if left[0] == 0:
                    raise CrashError
                left[0] -= 1
            return original(folder, name, *args)

        return wrapped

    for how in ("write", "delete"):
        monkeypatch.setattr(Folder, how, fused(getattr(Folder, how)))


def killed(uri: str, monkeypatch: pytest.MonkeyPatch, points: Sequence[int]) -> int:
    """Kill a merge after so many changes of files, and so on; the number of kills."""
    store = filled(f"{uri}/whole", monkeypatch)
    expected, rows, done = tables(f"{uri}/whole"), live_rows(f"{uri}/whole"), store.done()
    left = [-1]

    fuse(monkeypatch, left)
    for kills, point in enumerate(points):
        left[0] = -1
        now = copied(f"{uri}/whole", f"{uri}/{point}")
        left[0] = point
        try:
            compact(Folder(now))
        except CrashError:
            left[0] = -1
        else:
            return kills
        assert (live_rows(now), store_at(now).done()) == (rows, done)
        published(store_at(now))
        assert tables(now) == expected
        compact(Folder(now))
        assert (live_rows(now), store_at(now).done()) == (rows, done)
        assert len(part_ids(Folder(now))) == len(Folder(now).names("answers", ".parquet"))
    return len(points)


@pytest.mark.parametrize("where", ["disk", "memory", "s3"])
def test_a_kill_at_any_change_leaves_the_parts_or_what_stands_for_them(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_bucket(monkeypatch) if where == "s3" else nullcontext():
        uri = {"disk": str(tmp_path), "memory": f"memory://{uuid.uuid4().hex}", "s3": "s3://bucket/out"}[where]
        points = [1, 2] if where == "s3" else range(100)  # a server takes its time
        assert killed(uri, monkeypatch, points) == {"disk": KILLS, "memory": KILLS, "s3": 2}[where]


def test_of_rows_that_two_parts_hold_one_stays(uri: str) -> None:
    _, [old] = units_and_bundles([3, 4])
    done = {unit.unit_id for unit in old.units if unit.question_id == "total"}
    _, [new] = units_and_bundles([3, 4], done=done)
    store = store_at(uri)
    for bundle in (old, new):
        store.commit(result_of(bundle))
    assert published(store) == 9
    expected = tables(uri)
    compact(Folder(uri))
    assert len(live_rows(uri)) == 9
    folder = Folder(uri)
    for name in folder.names("answers", ".parquet"):
        folder.delete(name)
    assert published(store_at(uri)) == 9
    assert tables(uri) == expected


def test_a_part_that_a_late_worker_writes_again_does_not_count(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(uri, monkeypatch)
    expected, rows = tables(uri), live_rows(uri)
    compact(Folder(uri))
    late = results_for([40, 3, None, 33])[1]
    store.commit(late)
    assert part_id(late.bundle) in part_ids(Folder(uri))
    assert live_rows(uri) == rows
    published(store_at(uri))
    assert tables(uri) == expected
    compact(Folder(uri))
    assert part_id(late.bundle) not in part_ids(Folder(uri))


def test_parts_that_are_not_published_stay(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(uri, monkeypatch)
    more = result_of(units_and_bundles([40, 3, None, 33, 30], done=store.done())[1][0])
    store.commit(more)
    rows = live_rows(uri)
    compact(Folder(uri))
    assert part_id(more.bundle) in part_ids(Folder(uri))
    assert live_rows(uri) == rows
    assert published(store_at(uri)) == len(rows)


def test_a_folder_that_a_run_holds_is_left_alone(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(uri, monkeypatch)
    before = part_ids(Folder(uri))
    with OutputLock(Folder(uri)), pytest.raises(UsageError, match="in use by process"):
        compact(Folder(uri))
    assert part_ids(Folder(uri)) == before


def test_whoever_watches_counts_every_row_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(uri)
    began = datetime.now(UTC)
    write_running(
        folder,
        Running(run_id="test-run", began_at=began, engine="local", documents=5, pages=1, rows=1, planned_rows=1),
    )
    filled(uri, monkeypatch)
    watcher = Watcher(folder)
    before = watcher.look()
    left = [2]  # the merged part of a group is written, and one of its parts deleted

    with monkeypatch.context() as patch:
        fuse(patch, left)
        with pytest.raises(CrashError):
            compact(folder)
    for _ in range(2):
        for one in (watcher.look(), Watcher(folder).look()):
            assert (one.statuses, one.failures) == (before.statuses, before.failures)
        compact(folder)


@pytest.mark.parametrize("replaces", ["7", "{}", "[1]", "nope"])
def test_a_poisoned_footer_is_named(tmp_path: Path, replaces: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(str(tmp_path), monkeypatch)
    compact(Folder(str(tmp_path)))
    path = sorted((tmp_path / "parts").glob(f"{COMPACTED}*"))[0]
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"replaces": replaces.encode()}), path)
    with pytest.raises(UsageError, match=f"parts/{path.name} .*entry replaces"):
        store_at(str(tmp_path)).done()


def test_a_merged_part_has_the_schema_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(str(tmp_path), monkeypatch)
    folder = Folder(str(tmp_path))
    before = {table: count(folder, table) for table in COMMITTED}
    compact(folder)
    assert {table: count(folder, table) for table in COMMITTED} == before
    assert min(before.values()) > 0


def count(folder: Folder, table: str) -> int:
    parts: Sequence[str] = part_ids(folder)
    return sum(len(found[table]) for found in read_rows(folder, parts, [table]))
