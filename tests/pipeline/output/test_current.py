from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from pipeline.output import parts
from pipeline.output import publish as publishing
from pipeline.output.current import Plan
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.records import Bundle, Document, Unit
from pipeline.results import BundleResult
from tests.support.bundles import documents_with, questions, result_of, units_and_bundles
from tests.support.published import broken_page, published, store_at, tables

ONE_QUESTION = questions("version: 1\nquestions:\n  - {id: total, text: 'What is the total?'}\n")


@pytest.fixture
def memory() -> Iterator[str]:
    uri = f"memory://{uuid.uuid4().hex}"
    yield uri
    fsspec.filesystem("memory").rm(uri, recursive=True)


def committed(store: OutputStore, bundles: Sequence[Bundle]) -> None:
    for bundle in bundles:
        store.commit(result_of(bundle, broken_page(bundle)))


def plan_of(bundles: Sequence[Bundle]) -> Plan:
    units: list[Unit] = [unit for bundle in bundles for unit in bundle.units]
    documents: list[Document] = [document for bundle in bundles for document in bundle.documents]
    return Plan.of(units, documents)


def flags(uri: str, table: str) -> Counter[tuple[str, bool]]:
    """How many rows of each document are current, and how many are not."""
    return Counter((row["document_id"], row["is_current"]) for row in tables(uri)[table])


def files(uri: str, *folders: str) -> dict[str, bytes]:
    fs = fsspec.filesystem("memory")
    return {path: fs.cat_file(path) for folder in folders for path in fs.find(f"{uri}/{folder}")}


def test_point_15_rows_outside_of_the_plan_stay_and_are_not_current(memory: str) -> None:
    _, bundles = units_and_bundles([32, 32, 32])
    ids = [bundle.documents[0].document_id for bundle in bundles]
    store = store_at(memory)
    committed(store, bundles)
    assert published(store, plan=plan_of(bundles)) == 3 * 33
    published(store, plan=plan_of(bundles[1:]))
    assert flags(memory, "answers") == {(ids[0], False): 33, (ids[1], True): 33, (ids[2], True): 33}
    assert flags(memory, "pages") == {(ids[0], False): 32, (ids[1], True): 32, (ids[2], True): 32}
    assert flags(memory, "documents") == {(ids[1], True): 2, (ids[2], True): 2}
    published(store, plan=plan_of(bundles))
    assert {is_current for _, is_current in flags(memory, "answers")} == {True}
    assert len(tables(memory)["documents"]) == 6


def test_point_15_failures_are_marked_like_answers(memory: str) -> None:
    _, [both, third] = units_and_bundles([None, 16, 32])
    store = store_at(memory)
    committed(store, [both, third])
    published(store, plan=plan_of([third]))
    found = tables(memory)["failures"]
    assert [row["is_current"] for row in found] == [False] * 3
    assert {row["unit_id"] for row in found} < {unit.unit_id for unit in both.units}
    published(store, plan=plan_of([both]))
    assert [row["is_current"] for row in tables(memory)["failures"]] == [True] * 3


def test_point_15_a_question_that_is_no_longer_asked_is_not_current_but_its_pages_are(memory: str) -> None:
    _, bundles = units_and_bundles([3])
    units, _ = units_and_bundles([3], ONE_QUESTION)
    store = store_at(memory)
    committed(store, bundles)
    documents, _ = documents_with([3])
    published(store, plan=Plan.of(units, documents))
    assert {(row["question_id"], row["is_current"]) for row in tables(memory)["answers"]} == {
        ("total", True),
        ("date", False),
    }
    assert [row["is_current"] for row in tables(memory)["pages"]] == [True] * 3
    assert [row["question_id"] for row in tables(memory)["documents"]] == ["total"]


def test_only_files_in_which_a_mark_changes_are_written_again(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PARTS_PER_FILE", 1)
    _, bundles = units_and_bundles([32, 32, 32])
    store = store_at(memory)
    committed(store, bundles)
    published(store, plan=plan_of(bundles))
    before = files(memory, "answers", "failures")
    written: list[str] = []

    def spied(original: Any) -> Any:
        def spy(folder: Folder, name: str, *data: bytes) -> Any:
            written.append(name)
            return original(folder, name, *data)

        return spy

    for how in ("write", "place"):
        monkeypatch.setattr(Folder, how, spied(getattr(Folder, how)))
    published(store, plan=plan_of(bundles[1:]))
    after = files(memory, "answers", "failures")
    assert after.keys() == before.keys()
    (changed,) = [path for path in after if after[path] != before[path]]
    assert written == [changed.removeprefix(f"/{memory.removeprefix('memory://')}/")] + [
        "pages/pages.parquet",
        "documents/documents.parquet",
    ]
    assert pq.read_metadata(fsspec.filesystem("memory").open(changed)).metadata[b"parts"]


class CrashError(BaseException):
    """Stands for a process that is gone."""


def test_point_15_a_reader_finds_every_row_once_while_marks_change(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PARTS_PER_FILE", 1)
    _, bundles = units_and_bundles([None, 20, 32, 32, 32])
    old, new = bundles[:3], bundles[1:]
    store = store_at(memory)
    committed(store, old)
    published(store, plan=plan_of(old))
    committed(store, new)
    known = {row["unit_id"] for row in tables(memory)["answers"]}
    planned = {unit.unit_id for bundle in new for unit in bundle.units}
    left = [0]

    def fused(original: Any) -> Any:
        def wrapped(folder: Folder, *args: Any) -> Any:
            if left[0] == 0:
                raise CrashError
            left[0] -= 1
            return original(folder, *args)

        return wrapped

    crashes = 0
    with monkeypatch.context() as patch:
        for how in ("write", "place"):
            patch.setattr(Folder, how, fused(getattr(Folder, how)))
        for writes in range(20):
            left[0] = writes
            try:
                publishing.publish(store_at(memory), {}, plan_of(new))
            except CrashError:
                crashes += 1
            rows = tables(memory)["answers"]  # which refuses a row that is there twice
            assert known <= {row["unit_id"] for row in rows}
            if crashes <= writes:
                break
    assert crashes > 3
    assert {row["unit_id"] for row in tables(memory)["answers"] if row["is_current"]} == planned


def test_point_15_a_source_that_is_given_in_other_words_is_brought_up_to_date(memory: str) -> None:
    _, [bundle] = units_and_bundles([None, 3])
    here = dataclasses.replace(bundle, documents=tuple(dataclasses.replace(d, source="old/") for d in bundle.documents))
    store = store_at(memory)
    committed(store, [here])
    published(store, plan=plan_of([here]))
    assert {row["source"] for rows in tables(memory).values() for row in rows} == {"old/"}
    renamed = [dataclasses.replace(document, source="./old/") for document in here.documents]
    published(store, plan=Plan.of(here.units, renamed))
    assert {row["source"] for rows in tables(memory).values() for row in rows} == {"./old/"}
    published(store, plan=Plan.of([], []))
    assert {row["source"] for row in tables(memory)["answers"]} == {"./old/"}


def test_point_15_a_row_says_which_run_computed_it_and_when(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        now_is = datetime(2030, 1, 1, tzinfo=UTC)

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return cls.now_is

    monkeypatch.setattr(parts, "datetime", Clock)
    _, bundles = units_and_bundles([40])
    for hour, (run_id, bundle) in enumerate(zip(("first", "second"), bundles, strict=True)):
        Clock.now_is = datetime(2030, 1, 1, hour, tzinfo=UTC)
        OutputStore(Folder(memory), run_id=run_id).commit(result_of(bundle))
    published(store_at(memory))
    rows = tables(memory)
    assert Counter(row["run_id"] for row in rows["answers"]) == {"first": 33, "second": 8}
    assert Counter(row["run_id"] for row in rows["pages"]) == {"first": 32, "second": 8}
    fs = fsspec.filesystem("memory")
    with fs.open(f"{memory}/documents/documents.parquet") as file:
        found = {row["question_id"]: row for row in pq.read_table(file).to_pylist()}
    # The row of a document is as new as the newest answer that it is made of.
    assert (found["total"]["run_id"], found["total"]["answered_at"].hour) == ("second", 1)
    assert (found["date"]["run_id"], found["date"]["answered_at"].hour) == ("first", 0)


def test_results_of_an_older_plan_are_never_current(memory: str) -> None:
    _, bundles = units_and_bundles([3])
    result: BundleResult = result_of(bundles[0])
    store = store_at(memory)
    store.commit(result)
    published(store, plan=Plan.of([], []))
    assert {row["is_current"] for row in tables(memory)["answers"]} == {False}
    assert tables(memory)["documents"] == []
