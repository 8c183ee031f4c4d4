from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline import publish as publish_module
from pipeline.errors import SettingsChangedError, UsageError
from pipeline.folder import Folder
from pipeline.plan import make_bundles, make_units
from pipeline.publish import publish
from pipeline.records import Bundle, PageCount, Unit
from pipeline.schema import ANSWERS, DOCUMENTS, FAILURES, PAGES
from pipeline.store import OutputStore
from tests.helpers import SETTINGS, documents, questions, result

_numbers = itertools.count()


@pytest.fixture(params=["local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    uri = {"local": f"{tmp_path}/out", "file": f"file://{tmp_path}/out", "memory": f"memory://out{next(_numbers)}"}
    return Folder(uri[request.param])


def work(*pages: int | None) -> tuple[list[Unit], list[Bundle]]:
    found, counts = documents(*pages)
    units = make_units(found, counts, questions(), SETTINGS)
    return units, make_bundles(units, found, questions(), SETTINGS, counts)


def rows(store: OutputStore, table: str) -> list[dict[str, object]]:
    return [
        row
        for name in store.folder.names(table, ".parquet")
        for row in pq.read_table(store.folder.fs.open(store.folder.path(name), "rb")).to_pylist()
    ]


def test_what_is_committed_is_completed_and_published(folder: Folder) -> None:
    units, bundles = work(40, 3, None, 20)
    store = OutputStore(folder, "docpipe run --input {input} --output x")
    assert store.completed_units() == set()
    for bundle in bundles:
        store.commit(result(bundle))
    assert store.completed_units() == {unit.unit_id for unit in units}
    publish(store, {})
    answers = rows(store, "answers")
    assert sorted((r["unit_id"], r["page"]) for r in answers if r["page"]) == sorted(
        (u.unit_id, p) for u in units for p in u.pages
    )
    assert {(r["document"], r["page"], r["answer"], r["status"]) for r in answers if r["document"] == "d2.pdf"} == {
        ("d2.pdf", None, None, "failed")
    }
    assert store.status_counts({u.unit_id for u in units}) == {
        "answered": 126,
        "not_answerable": 0,
        "skipped": 0,
        "failed": 2,
        "needs_review": 0,
    }
    assert store.status_counts({units[0].unit_id})["answered"] == 32
    failures = rows(store, "failures")
    assert [(r["document"], r["question_id"], r["stage"], r["error_type"], r["attempts"]) for r in failures] == [
        ("d2.pdf", "a", "open", "CorruptDocument", 1),
        ("d2.pdf", "b", "open", "CorruptDocument", 1),
    ]
    assert failures[0]["command"] == "docpipe run --input /in/d2.pdf --output x"
    assert len(rows(store, "pages")) == 63
    chosen = {
        (r["document"], r["question_id"]): (r["answer"], r["page"], r["status"]) for r in rows(store, "documents")
    }
    assert chosen["d0.pdf", "a"] == ("id0 a 1", 1, "answered")  # page 1 is the most confident
    assert chosen["d2.pdf", "b"] == (None, None, "failed")
    assert len(chosen) == 8


def test_schemas_and_metadata(folder: Folder) -> None:
    _, bundles = work(2, None)
    store = OutputStore(folder)
    store.commit(result(bundles[0]))
    publish(store, {})
    for name, schema in {"answers": ANSWERS, "pages": PAGES, "failures": FAILURES, "documents": DOCUMENTS}.items():
        (file,) = store.folder.names(name, ".parquet")
        with store.folder.fs.open(store.folder.path(file), "rb") as opened:
            parquet = pq.ParquetFile(opened)
            assert parquet.schema_arrow.equals(schema)
            assert parquet.schema_arrow.metadata[b"schema_version"] == b"1"
            assert parquet.metadata.row_group(0).column(0).compression == "ZSTD"


def test_any_reader_opens_a_table_as_a_folder(tmp_path: Path) -> None:
    units, bundles = work(40, 3, None, 20)
    store = OutputStore(Folder(str(tmp_path)))
    for bundle in bundles:  # published one by one: several files
        store.commit(result(bundle))
        publish(store, {})
    assert len(list((tmp_path / "answers").iterdir())) == len(bundles) > 1
    want = {(u.unit_id, page) for u in units for page in u.pages or (None,)}
    queried = duckdb.sql(f"select unit_id, page from '{tmp_path}/answers/*.parquet'").fetchall()
    assert sorted(queried, key=str) == sorted(want, key=str)
    frame = pd.read_parquet(tmp_path / "answers")
    assert sorted(frame["unit_id"]) == sorted(unit for unit, _ in want)
    assert str(frame["page"].dtype) in ("float64", "Int32", "int32")
    assert set(pl.read_parquet(tmp_path / "answers").select("unit_id", "page").iter_rows()) == want
    assert ds.dataset(tmp_path / "answers").count_rows() == len(want)


def test_committing_twice_changes_nothing(folder: Folder) -> None:
    units, bundles = work(3)
    store = OutputStore(folder)
    for _ in range(2):
        store.commit(result(bundles[0]))
        publish(store, {})
    assert len(rows(store, "answers")) == 6
    assert store.status_counts({u.unit_id for u in units})["answered"] == 6


def test_a_result_with_a_row_lost_or_doubled_is_not_committed(folder: Folder) -> None:
    _, bundles = work(3)
    store = OutputStore(folder)
    good = result(bundles[0])
    for answers in (good.answers[1:], (*good.answers, good.answers[0])):
        with pytest.raises(RuntimeError, match="expected one answer for each unit and page"):
            store.commit(dataclasses.replace(good, answers=answers))
    assert store.completed_units() == set()


@pytest.mark.parametrize("dies_at", range(10))
def test_publishing_again_after_a_crash_neither_loses_nor_doubles_a_row(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    units, bundles = work(40, 3, None, 20, 31, 30)
    assert len(bundles) == 4
    store = OutputStore(folder)
    store.commit(result(bundles[0]))
    publish(store, {})
    for bundle in bundles[1:]:
        store.commit(result(bundle))
    original, calls = Folder.write, itertools.count()

    def dying(self: Folder, name: str, data: bytes) -> None:
        if next(calls) == dies_at:
            raise KeyboardInterrupt
        original(self, name, data)

    monkeypatch.setattr(publish_module, "_PARTS_A_FILE", 1)
    monkeypatch.setattr(Folder, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        publish(store, {})
    monkeypatch.undo()
    publish(store, {})
    found = sorted((str(r["unit_id"]), str(r["page"])) for r in rows(store, "answers"))
    assert found == sorted((u.unit_id, str(page)) for u in units for page in u.pages or (None,))
    assert len(rows(store, "pages")) == 124
    assert len(rows(store, "failures")) == 2
    assert len(rows(store, "documents")) == 12


def test_a_write_that_fails_leaves_nothing_that_a_reader_takes_for_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bundles = work(3)
    store = OutputStore(Folder(str(tmp_path)))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.folder.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.commit(result(bundles[0]))
    monkeypatch.undo()
    assert store.completed_units() == set()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    store.commit(result(bundles[0]))
    assert len(store.completed_units()) == 2


def test_changed_settings_are_refused_by_name(folder: Folder) -> None:
    store = OutputStore(folder)
    settings: dict[str, object] = {"dpi": 200, "rule": {"threshold": 0.5}, "question.a": "x"}
    store.check_settings(settings)
    store.check_settings(settings)
    store.check_settings({**settings, "question.b": "y"})  # a new question is welcome
    store.check_settings(settings)  # and may be left out again
    with pytest.raises(SettingsChangedError, match=r"dpi = 200; this run has 100"):
        store.check_settings({**settings, "dpi": 100})
    with pytest.raises(SettingsChangedError, match=r"question\.b = 'y'; this run has 'z'"):
        store.check_settings({**settings, "question.b": "z"})
    with pytest.raises(SettingsChangedError, match="rule"):
        store.check_settings({**settings, "rule": None})


def test_page_counts_are_remembered_and_failures_are_not(folder: Folder) -> None:
    store = OutputStore(folder)
    assert store.page_counts() == {}
    _, counts = documents(3, None)
    store.save_page_counts(counts.values())
    store.save_page_counts([PageCount("other", 9)])
    assert store.page_counts() == {"id0": PageCount("id0", 3), "other": PageCount("other", 9)}


def test_run_json(folder: Folder) -> None:
    store = OutputStore(folder)
    assert store.read_run() is None
    store.write_run({"counts": {"planned": 3}})
    assert store.read_run() == {"counts": {"planned": 3}}


def test_an_unknown_file_system_is_refused() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        Folder("nosuch://bucket/out")
