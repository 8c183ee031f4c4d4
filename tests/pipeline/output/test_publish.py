from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shlex
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from pipeline.errors import OutputError
from pipeline.output import publish as publishing
from pipeline.output.current import Plan
from pipeline.output.folder import Folder
from pipeline.output.parts import part_id, read_rows
from pipeline.output.publish import publish
from pipeline.output.summaries import document_table
from pipeline.questions.values import Reading
from pipeline.records import STATUSES
from pipeline.results import BundleResult
from tests.support.bundles import questions, result_of, rows_of, units_and_bundles
from tests.support.published import READINGS, everything, published, results_for, sql, store_at, tables


@pytest.fixture
def memory() -> Iterator[str]:
    uri = f"memory://{uuid.uuid4().hex}"
    yield uri
    fsspec.filesystem("memory").rm(uri, recursive=True)


def test_the_tables_hold_what_the_parts_hold(memory: str) -> None:
    results = results_for([None, 3, 40])
    store = store_at(memory, "docpipe run --input {input} --questions 'my q.yaml'")
    for result in results:
        store.commit(result)
    published(store)
    found = tables(memory)
    assert [(r["document_id"], r["page"], r["question_id"], r["status"]) for r in found["answers"]] == sorted(
        rows_of(results), key=lambda row: [str(v).zfill(40) for v in row[:3]]
    )
    one = next(r for r in found["answers"] if r["page"] == 1 and r["question_id"] == "date")
    assert {key: one[key] for key in ("answer", "confidence_raw", "evidence", "kept_tokens", "kv_bytes_full")} == {
        "answer": "date on page 1",
        "confidence_raw": 0.5,
        "evidence": [{"x0": 0.0, "y0": 1.5, "x1": 20.25, "y1": 30.0, "score": 2.5, "page": 1}],
        "kept_tokens": 105,
        "kv_bytes_full": 3_000_000_000,
    }
    assert (one["value"], one["value_text"], one["value_number"]) == ('"date on page 1"', "date on page 1", None)
    assert one["decode_ms"] is None
    assert one["document_sha256"] == f"sha-{one['document_id']}"
    failed = [a for result in results for a in result.answers if a.failure is not None]
    assert sorted((r["unit_id"], r["page"], r["stage"], r["error_type"], r["attempts"]) for r in found["failures"]) == (
        sorted(
            (a.unit_id, a.page, a.failure.stage, a.failure.error_type, a.failure.attempts) for a in failed if a.failure
        )
    )
    first = next(r for r in found["failures"] if r["stage"] == "open")
    command = ["docpipe", "run", "--input", f"/data/./{first['document']}", "--questions", "my q.yaml"]
    assert shlex.split(first["command"]) == command
    reports = [page for result in results for page in result.pages]
    assert sorted((r["document_id"], r["page"], r["render_ms"]) for r in found["pages"]) == sorted(
        (p.document_id, p.page, p.render_ms) for p in reports
    )
    statuses: list[str] = [a.status for result in results for a in result.answers]
    counts = store.status_counts()
    assert counts == {status: statuses.count(status) for status in STATUSES}
    last = results[-1]
    mine: list[str] = [a.status for a in last.answers]
    published(store, plan=Plan.of(last.bundle.units, []))
    assert store.status_counts() == {s: mine.count(s) for s in STATUSES}
    published(store, plan=Plan.of([], []))
    assert sum(store.status_counts().values()) == 0


def test_the_documents_table_has_one_row_a_document_and_question(memory: str) -> None:
    store = store_at(memory)
    for result in results_for([None, 40]):
        store.commit(result)
    published(store)
    rows = [
        (r["document"][-8:-4], r["question_id"], r["status"], r["page"], r["pages_asked"])
        for r in tables(memory)["documents"]
    ]
    assert sorted(rows) == [
        ("0000", "date", "failed", None, 1),
        ("0000", "total", "failed", None, 1),
        ("0001", "date", "answered", 1, 1),
        ("0001", "total", "answered", 1, 40),
    ]


def test_a_changed_aggregation_shows_in_the_next_publication(memory: str) -> None:
    store = store_at(memory)
    for result in results_for([40]):
        store.commit(result)
    published(store)
    published(store, {"total": Reading(aggregate="all")})
    row = next(r for r in tables(memory)["documents"] if r["question_id"] == "total")
    given = [p for p in range(1, 41) if p % 4 != 2]
    assert json.loads(row["answer"]) == [f"total on page {p}" for p in given]


def test_publishing_again_changes_nothing_and_reads_no_part_again(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(memory)
    for result in results_for([40, 40]):
        store.commit(result)
    rows = published(store)
    fs = fsspec.filesystem("memory")
    before = {path: fs.cat_file(path) for path in fs.find(memory)}
    read: list[str] = []

    def spy(folder: Folder, parts: Sequence[str], tables: Sequence[str]) -> Any:
        read.extend(parts)
        return read_rows(folder, parts, tables)

    monkeypatch.setattr(publishing, "read_rows", spy)
    publish(store, READINGS, everything(store))
    assert read == []
    assert published(store_at(memory)) == rows
    assert {path: fs.cat_file(path) for path in fs.find(memory)} == before


def test_publishing_in_steps_gives_the_same_rows_as_once(memory: str) -> None:
    results = results_for([40, 3, None, 70, 12])
    steps, once = store_at(f"{memory}/steps"), store_at(f"{memory}/once")
    names: set[str] = set()
    for result in results:
        steps.commit(result)
        published(steps)
        now = set(Folder(f"{memory}/steps").names("answers", ".parquet"))
        assert names < now, "a published file was replaced"
        names = now
        once.commit(result)
    published(once)
    assert tables(f"{memory}/steps") == tables(f"{memory}/once")


def test_many_parts_share_a_file(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PARTS_PER_FILE", 3)
    store = store_at(memory)
    results = results_for([32] * 7)
    for result in results:
        store.commit(result)
    assert published(store) == len(rows_of(results))
    assert len(Folder(memory).names("answers", ".parquet")) == 3
    assert len(Folder(memory).names("failures", ".parquet")) == 3


class CrashError(BaseException):
    """Stands for a process that is gone: nothing in the pipeline may catch it."""


class Fuse:
    """Lets so many changes of files happen, then crashes before or after the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.used = 0
        for name in ("write", "place", "delete"):
            monkeypatch.setattr(Folder, name, self._wrapped(getattr(Folder, name)))

    def _wrapped(self, original: Any) -> Any:
        def wrapped(folder: Folder, *args: Any) -> Any:
            self.used += 1
            if self.left is not None:
                if self.left == 0:
                    raise CrashError
                self.left -= 1
            return original(folder, *args)

        return wrapped


def test_a_crash_at_any_point_loses_and_repeats_nothing(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PARTS_PER_FILE", 2)
    results = results_for([40, 3, None, 70, 12])
    early, late = results[:4], results[4:]
    fuse = Fuse(monkeypatch)

    def commit(uri: str, some: Sequence[BundleResult]) -> None:
        for result in some:
            store_at(uri).commit(result)

    def publish_until(uri: str, changes: int | None) -> bool:
        store = store_at(uri)
        fuse.left, fuse.used = changes, 0
        try:
            publish(store, READINGS, everything(store))
        except CrashError:
            return False
        finally:
            fuse.left = None
        return True

    commit(f"{memory}/whole", results)
    publish_until(f"{memory}/whole", None)
    expected = tables(f"{memory}/whole")
    crashes = 0
    for first, second in itertools.product(range(6), (0, 1, 3)):
        uri = f"{memory}/{first}-{second}"
        commit(uri, early)
        crashes += not publish_until(uri, first)
        tables(uri)  # nothing twice, at any time
        names = {kind: {n.split("/")[1] for n in Folder(uri).names(kind, "")} for kind in ("answers", "failures")}
        assert names["answers"] <= names["failures"]
        commit(uri, late)
        crashes += not publish_until(uri, second)
        seen = tables(uri)
        for name in ("answers", "failures"):
            assert all(row in expected[name] for row in seen[name])
        assert publish_until(uri, None)
        assert tables(uri) == expected
    assert crashes == 36


def test_tables_that_were_deleted_are_made_again(memory: str) -> None:
    store = store_at(memory)
    for result in results_for([40, None]):
        store.commit(result)
    published(store)
    expected = tables(memory)
    fs = fsspec.filesystem("memory")
    for gone in (["failures"], ["answers"], ["pages"], ["documents"], ["answers", "failures", "pages", "documents"]):
        for name in gone:
            fs.rm(f"{memory}/{name}", recursive=True)
        published(store_at(memory))
        assert tables(memory) == expected


def test_rows_of_parts_that_were_deleted_go_and_come_back(memory: str) -> None:
    results = results_for([40, 3])
    store = store_at(memory)
    for result in results:
        store.commit(result)
    published(store)
    expected = tables(memory)
    fsspec.filesystem("memory").rm(f"{memory}/parts/{part_id(results[0].bundle)}.parquet")
    assert published(store) == len(rows_of(results[1:]))
    assert store.done().units == {u.unit_id for r in results[1:] for u in r.bundle.units}
    assert len(tables(memory)["pages"]) == sum(len(r.pages) for r in results[1:])
    store.commit(results[0])
    published(store)
    assert tables(memory) == expected


@pytest.mark.parametrize("in_steps", [False, True])
def test_a_unit_in_two_parts_is_published_once(memory: str, in_steps: bool) -> None:
    # A worker that outlives its run commits its bundle after the next run has planned the same units in others.
    _, [old] = units_and_bundles([3, 4])
    done = {unit.unit_id for unit in old.units if unit.question_id == "total"}
    _, [new] = units_and_bundles([3, 4], done=done)
    assert part_id(new) != part_id(old)
    store = store_at(memory)
    store.commit(result_of(old))
    if in_steps:
        published(store)
    store.commit(result_of(new))
    assert published(store) == len(rows_of([result_of(old)])) == 9
    assert sum(store.status_counts().values()) == 9
    assert [
        (r["document_id"], r["page"], r["question_id"], r["status"])
        for r in sorted(tables(memory)["answers"], key=lambda r: (r["document_id"], r["page"], r["question_id"]))
    ] == rows_of([result_of(old)])


def test_a_question_that_is_added_reads_its_pages_again_but_a_page_stays_one_row(memory: str) -> None:
    units, [bundle] = units_and_bundles([3])
    store = store_at(memory)
    first = result_of(bundle)
    peaks = [dataclasses.replace(page, peak_memory_bytes=9, peak_rss_bytes=5) for page in first.pages]
    store.commit(dataclasses.replace(first, pages=tuple(peaks)))
    published(store)
    more = questions('version: 1\nquestions:\n  - {id: a_longer_name, text: "New", pages: "2"}\n')
    _, [extra] = units_and_bundles([3], more, {unit.unit_id for unit in units})
    result = result_of(extra)
    [report] = result.pages
    again = dataclasses.replace(report, peak_rss_bytes=7, render_ms=99.0)
    store.commit(BundleResult(extra, result.answers, (again,), result.sha256))
    published(store)
    pages = tables(memory)["pages"]
    assert [row["page"] for row in pages] == [1, 2, 3]
    both = [(100 + 2 + len("total")) / 1836, (100 + 2 + len("a_longer_name")) / 1836]
    assert (pages[1]["retention_min"], pages[1]["retention_max"]) == (both[0], both[1])
    assert pages[1]["retention_mean"] == pytest.approx(sum(both) / 2)
    assert (pages[1]["render_ms"], pages[1]["peak_memory_bytes"], pages[1]["peak_rss_bytes"]) == (9.5, 9, 7)


def test_nothing_committed_still_gives_tables_that_open(tmp_path: Path) -> None:
    assert published(store_at(str(tmp_path))) == 0
    assert tables(str(tmp_path)) == {"answers": [], "pages": [], "documents": [], "failures": []}
    assert sql(f"select count(*) from '{tmp_path}/failures/*.parquet'") == [(0,)]
    store_at(str(tmp_path)).commit(results_for([3])[0])
    assert published(store_at(str(tmp_path))) == 4


def test_many_documents_are_aggregated_in_portions(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(memory)
    for result in results_for([1, 2, None, 3] * 10):
        store.commit(result)
    published(store)
    whole = tables(memory)["documents"]
    monkeypatch.setattr(publishing, "ROWS_AT_A_TIME", 10)
    portions: list[int] = []

    def spy(answers: pa.Table, readings: dict[str, Reading]) -> pa.Table:
        portions.append(len(answers))
        return document_table(answers, readings)

    monkeypatch.setattr(publishing, "document_table", spy)
    published(store)
    assert len(portions) > 10
    assert max(portions) < 20
    assert tables(memory)["documents"] == whole
    assert len(whole) == 80


def test_a_disk_that_fills_up_while_publishing_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(str(tmp_path))
    store.commit(results_for([3])[0])

    def full(source: str, target: str) -> None:
        if "/answers/" in target:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match="No space left"):
            publish(store, {}, everything(store))
    assert published(store) == 4
