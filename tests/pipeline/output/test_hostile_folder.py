"""A folder that somebody else wrote to: every file is checked before it is believed, what is wrong is a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import DocpipeError, UsageError
from pipeline.output.folder import Folder
from pipeline.output.lock import OutputLock
from pipeline.output.publish import check_tables, publish
from pipeline.output.soundness import check_footer
from pipeline.output.store import OutputStore
from pipeline.output.tables import read_batches, read_table
from pipeline.records import PageCount
from tests.support.published import READINGS, everything, published, results_for, store_at, tables

DEEP = "[" * 100_000


def committed(path: Path) -> OutputStore:
    store = store_at(str(path))
    for result in results_for([3, 2]):
        store.commit(result)
    return store


def rewrite(path: Path, footer: dict[str, str | None], change: Callable[[pa.Table], pa.Table] = lambda t: t) -> None:
    table = pq.read_table(path)
    entries = {**{key.decode(): value.decode() for key, value in table.schema.metadata.items()}, **footer}
    kept = {key: value for key, value in entries.items() if value is not None}
    pq.write_table(change(table).replace_schema_metadata(kept), path)


PART_FOOTERS = [{"units": text} for text in ("nope", "7", "[{}]", "[1]", "null", "{}", DEEP, "")]
PART_FOOTERS += [{"pages": text} for text in ("[1]", '{"a": null}', '{"a": ["x"]}', '{"a": [1.5]}', DEEP)]


@pytest.mark.parametrize("footer", PART_FOOTERS, ids=str)
def test_a_part_with_a_poisoned_footer_is_named(tmp_path: Path, footer: dict[str, str | None]) -> None:
    committed(tmp_path)
    part = sorted((tmp_path / "parts").iterdir())[0]
    rewrite(part, footer)
    with pytest.raises(
        UsageError, match=rf"parts/{part.name} is not a file of this version .*entry {next(iter(footer))}"
    ):
        store_at(str(tmp_path)).done()
    part.unlink()
    assert len(store_at(str(tmp_path)).parts()) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.drop_columns(["answers"]), "its column answers is missing"),
        (lambda table: pa.table({"answers": [1], "pages": [2], "failures": [3]}), "column answers is of type int64"),
        (lambda table: pa.table({name: [[{"unit_id": "x"}]] for name in table.column_names}), "is of type list"),
    ],
)
def test_a_part_with_other_columns_is_named(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], reason: str
) -> None:
    store = committed(tmp_path)
    rewrite(sorted((tmp_path / "parts").iterdir())[0], {}, change)
    with pytest.raises(UsageError, match=reason):
        publish(store, READINGS, everything(store))


@pytest.mark.parametrize(
    ("footer", "change", "reason"),
    [
        ({"parts": "nope"}, lambda t: t, "entry parts of its footer: Invalid JSON"),
        ({"parts": "[{}]"}, lambda t: t, "entry parts of its footer"),
        ({"readings": '{"total": "[1]"}'}, lambda t: t, "entry readings of its footer"),
        ({"readings": '{"total": "7"}'}, lambda t: t, "entry readings of its footer"),
        ({"calibration": None}, lambda t: t, "its footer lacks one of"),
        ({"schema_version": "99"}, lambda t: t, "was made by another version"),
    ],
)
def test_a_published_file_with_a_poisoned_footer_is_named_before_any_work(
    tmp_path: Path, footer: dict[str, str | None], change: Callable[[pa.Table], pa.Table], reason: str
) -> None:
    published(committed(tmp_path))
    rewrite(sorted((tmp_path / "answers").iterdir())[0], footer, change)
    with pytest.raises(UsageError, match=reason):
        check_tables(Folder(str(tmp_path)))


@pytest.mark.parametrize("column", ["status", "is_current", "page"])
def test_a_published_file_with_other_columns_is_named(tmp_path: Path, column: str) -> None:
    store = committed(tmp_path)
    published(store)
    text = pa.array(["x"] * len(tables(str(tmp_path))["answers"]))
    place = pq.read_schema(sorted((tmp_path / "answers").iterdir())[0]).get_field_index(column)
    change = (lambda t: t.set_column(place, column, text)) if column == "page" else (lambda t: t.drop_columns([column]))
    rewrite(sorted((tmp_path / "answers").iterdir())[0], {}, change)
    with pytest.raises(UsageError, match=f"its column {column} is (missing|of type string, expected int32)"):
        publish(store, READINGS, everything(store))


def test_text_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    store = committed(tmp_path)
    published(store)
    file = sorted((tmp_path / "answers").iterdir())[0]
    broken = pa.array([b"\xbd"] * pq.read_metadata(file).num_rows).view(pa.string())
    rewrite(file, {}, lambda t: t.set_column(t.schema.get_field_index("answer"), "answer", broken))
    for read in (read_table, lambda *which: list(read_batches(*which, 10))):
        with pytest.raises(UsageError, match="is not a file of this version of docpipe .*Invalid UTF8"):
            read(store.folder, f"answers/{file.name}", ["answer"])


def test_a_published_file_that_names_parts_elsewhere_is_made_again(tmp_path: Path) -> None:
    store = committed(tmp_path / "out")
    published(store)
    expected = tables(str(tmp_path / "out"))
    (tmp_path / "climbs.parquet").write_bytes(b"untouched")
    rewrite(sorted((tmp_path / "out/answers").iterdir())[0], {"parts": '["../../climbs"]'})
    published(store_at(str(tmp_path / "out")))
    assert tables(str(tmp_path / "out")) == expected
    assert (tmp_path / "climbs.parquet").read_bytes() == b"untouched"


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    store = committed(tmp_path / "out")
    (tmp_path / "out" / "pages").mkdir()
    for name in ("run.json", "settings.json", "cache/0123456789abcdef.parquet", ".docpipe.lock", "pages/pages.parquet"):
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).symlink_to(victim)
    folder = Folder(str(tmp_path / "out"))
    assert not folder.create(".docpipe.lock", b"mine")
    for name in ("run.json", "settings.json", "cache/0123456789abcdef.parquet", "pages/pages.parquet"):
        folder.write(name, b"{}")
        assert not (tmp_path / "out" / name).is_symlink()
    (tmp_path / "out" / "dangling").symlink_to(tmp_path / "new")
    assert not folder.create("dangling", b"mine")
    folder.delete("dangling")
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "new").exists()
    assert len(store.parts()) == 1


@pytest.mark.parametrize("content", ["", "nope", "[]", "7", DEEP, "\ud800"])
def test_damaged_json_is_a_sentence(tmp_path: Path, content: str) -> None:
    store = store_at(str(tmp_path))
    store.folder.write("settings.json", content.encode(errors="surrogatepass"))
    with pytest.raises(UsageError, match="settings.json"):
        store.check_settings({})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.drop_columns(["pages"]), "its column pages is missing"),
        (lambda table: table.set_column(1, "pages", pa.array(["x"])), "its column pages is of type string"),
        (lambda table: table.set_column(1, "pages", pa.array([0], pa.int32())), "expected numbers of pages"),
        (lambda table: table.set_column(1, "pages", pa.array([None], pa.int32())), "expected numbers of pages"),
    ],
)
def test_damaged_page_counts_are_a_sentence(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], reason: str
) -> None:
    store = store_at(str(tmp_path))
    store.save_page_counts([PageCount("a", 3)])
    (path,) = (tmp_path / "cache").iterdir()
    rewrite(path, {}, change)
    with pytest.raises(UsageError, match=f"cache/{path.name} .*{reason}"):
        list(store.page_counts())


QUESTION = {"question a": {"identity": "i", "fields": {"text": "What?", "type": "text"}}}
MODEL = {"--model": {"name": "nano", "fingerprint": "f"}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"question a": 5}, "question a: Input should be a valid dictionary"),
        ({"question a": {"identity": "j"}}, "question a.fields: Field required"),
        ({"question a": {"identity": "j", "fields": {"text": "What?"}}}, "question a has no type"),
        ({"question b": {"identity": "j", "fields": {}}}, "question b has no text"),
        ({"--model": "nano"}, "--model: Input should be a valid dictionary"),
        ({"--model": {"name": "nano"}}, "--model.fingerprint: Field required"),
    ],
)
def test_settings_of_another_shape_are_named(tmp_path: Path, content: object, reason: str) -> None:
    store = store_at(str(tmp_path))
    store.folder.write("settings.json", json.dumps(content).encode())
    with pytest.raises(
        UsageError, match=rf"settings\.json is damaged: {reason}.*; put back the file as docpipe wrote it"
    ):
        store.check_settings({**QUESTION, **MODEL})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"exit_code": "x"}, "exit_code: Input should be a valid integer"),
        ({"exit_code": 0, "wall_s": float("nan")}, "wall_s: Input should be a finite number"),
        ({"exit_code": 0, "this_run": []}, "this_run: Input should be a valid dictionary"),
        ({"exit_code": 0, "counts": {"planned": 10**30}}, "counts.planned: Input should be less than"),
        ({}, "it has no exit_code"),
    ],
)
def test_a_report_of_another_shape_is_named(tmp_path: Path, content: object, reason: str) -> None:
    store = store_at(str(tmp_path))
    store.folder.write("run.json", json.dumps(content).encode())
    with pytest.raises(UsageError, match=rf"run\.json is damaged: {reason}.*; delete it"):
        store.read_run("exit_code")


def test_a_document_of_a_billion_pages_is_damage(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    store.save_page_counts([PageCount("a", 10**9)])
    with pytest.raises(UsageError, match=r"is damaged: expected numbers of pages"):
        list(store.page_counts())


@pytest.mark.parametrize(
    ("field", "value"), [("token", "../../x"), ("since", "2026-11-26T22:00:00"), ("heartbeat", "0001-01-01T00:00:00Z")]
)
def test_a_lock_that_names_files_elsewhere_or_no_moment_is_damage(tmp_path: Path, field: str, value: str) -> None:
    folder = Folder(str(tmp_path / "out"))
    holder = {"token": "ab", "host": "h", "pid": 1, "born": "1", "pid_space": "p", field: value}
    moments = {"since": "2026-11-26T22:00:00Z", "heartbeat": "2026-11-26T22:00:00Z"}
    folder.write(".docpipe.lock", json.dumps({**moments, **holder}).encode())
    with pytest.raises(UsageError, match=r"\.docpipe\.lock cannot be read"), OutputLock(folder):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(entry=st.sampled_from(["units", "pages", "parts", "readings"]), value=JSON.map(json.dumps) | st.text())
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
def test_any_footer_is_sound_or_refused(entry: str, value: str) -> None:
    footer = {"units": "[]", "parts": "[]", "readings": "{}", "calibration": "", entry: value}
    try:
        check_footer(footer, "answers/x.parquet")
    except ValueError:
        return
    found = json.loads(value)
    assert isinstance(found, list if entry in ("units", "parts") else dict)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damaged_bytes_of_a_part_are_a_sentence_or_change_nothing(tmp_path: Path, data: st.DataObject) -> None:
    out = tmp_path / "out"
    if not out.exists():
        committed(out)
    part = sorted((out / "parts").glob("*.parquet"))[0]
    sound = part.read_bytes()
    at = data.draw(st.integers(0, len(sound) - 1))
    length = data.draw(st.integers(1, 40))
    part.write_bytes(sound[:at] + data.draw(st.binary(min_size=length, max_size=length)) + sound[at + length :])
    with suppress(DocpipeError):
        store = store_at(str(out))
        publish(store, READINGS, everything(store))
    part.write_bytes(sound)
    for folder in ("answers", "failures", "pages", "documents"):
        for path in (out / folder).glob("*"):
            path.unlink()
