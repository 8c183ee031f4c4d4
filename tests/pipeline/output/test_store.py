from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import EngineError, OutputError, UsageError
from pipeline.output.folder import Folder
from pipeline.output.parts import part_id
from pipeline.output.publish import publish
from pipeline.output.schema import PART
from pipeline.output.store import OutputStore
from pipeline.records import Failure, PageCount
from pipeline.units import planned_rows
from tests.support.bundles import result_of, rows_of, units_and_bundles
from tests.support.published import everything


def test_a_part_is_one_row_that_says_in_its_footer_what_it_completes(tmp_path: Path) -> None:
    _, [bundle] = units_and_bundles([None, 3])
    result = result_of(bundle, {(bundle.documents[1].document_id, 2): Failure("infer", "OutOfMemory", "x", 2)})
    OutputStore(Folder(str(tmp_path))).commit(result)
    [path] = tmp_path.iterdir()
    assert path == tmp_path / "parts"
    [path] = path.iterdir()
    assert path.name == f"{part_id(bundle)}.parquet"
    file = pq.ParquetFile(path)
    assert file.metadata.metadata[b"schema_version"] == b"10"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    table = file.read()
    assert table.schema.remove_metadata() == PART
    [row] = table.to_pylist()
    assert [(a["document_id"], a["page"], a["question_id"], a["status"]) for a in row["answers"]] == [
        (a.document_id, a.page, a.question_id, a.status) for a in result.answers
    ]
    shas = {d.document_id: result.sha256.get(d.document_id) for d in bundle.documents}
    assert b"pages" not in file.metadata.metadata  # no unit is divided
    assert {a["document_id"]: a["document_sha256"] for a in row["answers"]} == shas
    assert [(f["page"], f["stage"], f["error_type"], f["attempts"]) for f in row["failures"]] == [
        (None, "open", "EncryptedDocument", 1),
        (None, "open", "EncryptedDocument", 1),
        (2, "infer", "OutOfMemory", 2),
    ]
    assert [p["page"] for p in row["pages"]] == [1, 3]


def test_what_is_done_are_the_units_of_the_commits(uri: str) -> None:
    units, bundles = units_and_bundles([20, 20, 40])
    store = OutputStore(Folder(uri))
    assert store.done().units == set()
    for bundle in bundles[:2]:
        store.commit(result_of(bundle))
    wanted = {unit.unit_id for bundle in bundles[:2] for unit in bundle.units}
    assert store.done().units == wanted == OutputStore(Folder(uri)).done().units
    OutputStore(Folder(uri)).commit(result_of(bundles[2]))
    assert store.done().units == wanted | {unit.unit_id for unit in bundles[2].units}
    assert len(store.done().units) < len(units)


def test_planned_minus_completed_ends_with_every_row_once(uri: str) -> None:
    rng = random.Random(3)
    pages = [rng.choice([None, 1, 2, 7, 33, 70]) for _ in range(25)]
    committed = []
    for _ in range(50):
        store = OutputStore(Folder(uri))
        units, bundles = units_and_bundles(pages, done=store.done())
        if not bundles:
            break
        for bundle in rng.sample(bundles, k=min(len(bundles), rng.randint(1, 3))):
            committed.append(result_of(bundle))
            store.commit(committed[-1])
        pages.extend(rng.choice([None, 4]) for _ in range(rng.randint(0, 1)) if len(pages) < 30)
    assert units_and_bundles(pages, done=OutputStore(Folder(uri)).done())[1] == []
    rows = rows_of(committed)
    assert len(rows) == len({row[:3] for row in rows}) == planned_rows(units)
    store = OutputStore(Folder(uri))
    publish(store, {}, everything(store))
    assert sum(store.status_counts().values()) == planned_rows(units)


def test_committing_again_replaces(uri: str) -> None:
    _, [bundle] = units_and_bundles([2])
    store = OutputStore(Folder(uri))
    store.commit(result_of(bundle))
    store.commit(result_of(bundle))
    assert store.done().units == {unit.unit_id for unit in bundle.units}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda answers: answers[1:], "1 missing"),
        (lambda answers: (*answers, answers[0]), "1 too many"),
        (lambda answers: (dataclasses.replace(answers[0], page=9), *answers[1:]), "1 missing .* 1 too many"),
        (lambda answers: (dataclasses.replace(answers[0], status="failed"), *answers[1:]), "belong together"),
        (
            lambda answers: (dataclasses.replace(answers[0], failure=Failure("infer", "X", "y")), *answers[1:]),
            "belong together",
        ),
    ],
)
def test_a_result_that_loses_or_repeats_a_row_is_refused(
    tmp_path: Path, spoil: Callable[[Any], Any], message: str
) -> None:
    _, [bundle] = units_and_bundles([2])
    result = result_of(bundle)
    with pytest.raises(EngineError, match=message):
        OutputStore(Folder(str(tmp_path))).commit(dataclasses.replace(result, answers=spoil(result.answers)))
    assert OutputStore(Folder(str(tmp_path))).done().units == set()


def test_a_crash_before_the_rename_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, [bundle] = units_and_bundles([2])
    seen: list[str] = []

    def crash(source: str, target: str) -> None:
        seen.extend(name for name in os.listdir(tmp_path) if name != "parts")
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        OutputStore(Folder(str(tmp_path))).commit(result_of(bundle))
    assert len(seen) == 1
    assert seen[0].startswith(f".{part_id(bundle)}.parquet.tmp-{os.getpid()}-")
    assert os.listdir(tmp_path) == ["parts"]
    assert os.listdir(tmp_path / "parts") == []


def test_the_content_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def spy_replace(source: str, target: str) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    Folder(str(tmp_path)).write("parts/x", b"1")
    assert [call.startswith(f"{tmp_path}/.x.tmp-") for call in calls] == [True, False, False]
    assert calls[1:] == ["rename", f"{tmp_path}/parts"]


def test_a_writer_that_is_killed_leaves_only_whole_files(tmp_path: Path) -> None:
    code = (
        "from pipeline.output.folder import Folder\n"
        f"f = Folder({str(tmp_path)!r})\n"
        "n = 0\n"
        "while True:\n"
        "    f.write(f'parts/{n % 7}', bytes([n % 256]) * 2_000_000)\n"
        "    n += 1\n"
        "    print(n, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(9):
            writer.stdout.readline()
        time.sleep(0.005)
        writer.send_signal(signal.SIGKILL)
    folder = Folder(str(tmp_path))
    names = folder.names("parts", "")
    assert names == [f"parts/{n}" for n in range(7)]
    for name in names:
        data = folder.read(name)
        assert data is not None
        assert data == data[:1] * 2_000_000


def test_an_object_store_gets_one_put_under_the_final_name(monkeypatch: pytest.MonkeyPatch) -> None:
    puts = []
    original = MemoryFileSystem.pipe_file

    def spy(self: MemoryFileSystem, path: str, value: bytes, mode: str = "overwrite") -> None:
        puts.append(path)
        original(self, path, value, mode=mode)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", spy)
    _, [bundle] = units_and_bundles([2])
    root = uuid.uuid4().hex
    OutputStore(Folder(f"memory://{root}")).commit(result_of(bundle))
    assert puts == [f"/{root}/parts/{part_id(bundle)}.parquet"]
    fs = fsspec.filesystem("memory")
    assert fs.find(f"/{root}") == puts
    fs.rm(f"/{root}", recursive=True)


def test_create_lets_one_of_many_win(uri: str) -> None:
    folder = Folder(uri)
    assert folder.create("x/lock", b"first")
    assert not folder.create("x/lock", b"second")
    assert folder.read("x/lock") == b"first"


def test_folder_names_reads_and_deletes(uri: str) -> None:
    folder = Folder(uri)
    assert folder.names("t", ".json") == []
    assert folder.read("t/none.json") is None
    for name in ("b.json", ".hidden.json", "a.json", "c.txt"):
        folder.write(f"t/{name}", name.encode())
    assert folder.names("t", ".json") == ["t/a.json", "t/b.json"]
    folder.delete("t/a.json")
    folder.delete("t/a.json")
    assert folder.names("t", ".json") == ["t/b.json"]


def test_files_that_others_wrote_are_seen(uri: str) -> None:
    one, other = Folder(uri), Folder(uri)
    assert one.names("t", "") == []
    other.write("t/x", b"1")
    assert one.names("t", "") == ["t/x"]


def test_point_19_a_full_disk_is_a_usage_error_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    folder = Folder(str(tmp_path))
    folder.write("x", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*/x: .*No space left.*run the same command again"):
        folder.write("x", b"new")
    assert os.listdir(tmp_path) == ["x"]
    assert folder.read("x") == b"old"


def test_an_output_that_is_a_file_or_has_no_file_system_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="expected a folder"):
        Folder(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="no file system"):
        Folder("nosuch://bucket/out")


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    damaged = tmp_path / "parts" / f"{'b' * 16}-{'0' * 12}.parquet"
    damaged.write_bytes(b"half a file")
    with pytest.raises(UsageError, match=rf"parts/{damaged.name} .* delete it"):
        OutputStore(Folder(str(tmp_path))).done()


def test_a_part_that_is_not_docpipes_is_to_be_moved(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "x.parquet").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"parts/x\.parquet is not a file of docpipe, .* move it elsewhere"):
        OutputStore(Folder(str(tmp_path))).done()


def test_a_part_of_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, [bundle] = units_and_bundles([2])
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.output.schema.SCHEMA_VERSION", 1)
        OutputStore(Folder(str(tmp_path))).commit(result_of(bundle))
    with pytest.raises(UsageError, match=r"another version of docpipe \(tables of version 1, .*; read it with that"):
        OutputStore(Folder(str(tmp_path))).done()


def test_page_counts_are_kept_and_failures_are_tried_again(uri: str) -> None:
    store = OutputStore(Folder(uri))
    assert list(store.page_counts()) == []
    store.save_page_counts([PageCount("a", 3), PageCount("b", None, Failure("open", "X", "y"))])
    store.save_page_counts([PageCount("c", 70_000)])
    store.save_page_counts([PageCount("d", None, Failure("open", "X", "y"))])
    saved = [row for rows in OutputStore(Folder(uri)).page_counts() for row in rows.to_pylist()]
    assert {row["document_id"]: row["pages"] for row in saved} == {"a": 3, "c": 70_000}


def test_run_json_round_trips_and_is_replaced(uri: str) -> None:
    store = OutputStore(Folder(uri))
    assert store.read_run() is None
    store.write_run({"exit_code": 3})
    store.write_run({"exit_code": 0, "retention": None})
    assert OutputStore(Folder(uri)).read_run() == {"exit_code": 0, "retention": None}
