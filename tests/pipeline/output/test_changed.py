"""Settings that may not change within an output folder, and what a refusal says."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SettingsChangedError, UsageError
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore


def asked(text: str = "A", **fields: Any) -> dict[str, Any]:
    told = {"text": text, "type": "text", "choices": None, "prompt": "{text}", **fields}
    return {"identity": f"{text} {fields.get('prompt')}", "fields": told}


MODEL = {"name": "nano", "fingerprint": "0f"}
RECORD = {"--model": MODEL, "--dpi": 200, "--max-ratio": None, "--drop-blank": False, "question a": asked()}


def test_the_same_settings_are_accepted_again(uri: str) -> None:
    for pages in ((1, 2), (1, 2), [1, 2]):
        OutputStore(Folder(uri)).check_settings({**RECORD, "--pages": pages})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--dpi": 150}, "  --dpi was 200, is 150\nGive back the old value of --dpi\nOr take another --output"),
        ({"--max-ratio": 0.3}, "  --max-ratio was not set, is 0.3\n"),
        ({"--drop-blank": True}, "  --drop-blank was off, is on\n"),
        ({"--model": {"name": "big", "fingerprint": "ff"}}, "  --model was nano, is big\n"),
        ({"--model": {**MODEL, "fingerprint": "ff"}}, "  --model nano has other content than when the answers were"),
        (
            {"question a": asked("B")},
            '  question a: text was "A", is "B"\nGive question a a new id, or change it back, or take --reworded\n'
            "Or take another --output",
        ),
        (
            {"question a": asked(type="choice", choices=["x", "y"], prompt="{text} {choices}")},
            '  question a: type was "text", is "choice"\n  question a: choices was not set, is x, y\n'
            '  question a: prompt was "{text}", is "{text} {choices}"\n',
        ),
        ({"question a": asked("B", type="date")}, '  question a: text was "A", is "B"\nGive'),
        (
            {"--dpi": 150, "question a": {**asked(), "identity": "other"}},
            "is 150\nGive back the old value of --dpi\nOr",
        ),
        (
            {"--dpi": 150, "question a": asked("B")},
            "or change it back, or take --reworded\nGive back the old value of --dpi\nOr take",
        ),
    ],
)
def test_point_16_a_changed_setting_is_refused_in_words(uri: str, changed: dict[str, object], message: str) -> None:
    OutputStore(Folder(uri)).check_settings(RECORD)
    with pytest.raises(SettingsChangedError) as caught:
        OutputStore(Folder(uri)).check_settings({**RECORD, **changed})
    assert message in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    OutputStore(Folder(uri)).check_settings(RECORD)


def test_point_16_of_two_long_texts_the_message_shows_where_they_differ(uri: str) -> None:
    OutputStore(Folder(uri)).check_settings({"question a": asked("long " * 200 + "old" + " end" * 200)})
    with pytest.raises(SettingsChangedError) as caught:
        OutputStore(Folder(uri)).check_settings({"question a": asked("long " * 200 + "new" + " end" * 200)})
    (line,) = [line for line in str(caught.value).splitlines() if "text was" in line]
    assert "long old end" in line
    assert "long new end" in line
    assert len(line) < 300


def test_point_16_a_change_that_no_answer_depends_on_is_recorded(uri: str) -> None:
    OutputStore(Folder(uri)).check_settings(RECORD)
    other = {**RECORD, "--model": {**MODEL, "name": "/a/copy"}, "question a": asked()}
    other["question a"]["fields"]["type"] = "date"
    OutputStore(Folder(uri)).check_settings(other)
    with pytest.raises(SettingsChangedError, match="--model was /a/copy, is x"):
        OutputStore(Folder(uri)).check_settings({"--model": {"name": "x", "fingerprint": "ff"}})


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"model": "0f", "schema_version": 4}')
    with pytest.raises(
        SettingsChangedError, match="version 4, this docpipe writes version 10.; read it with that version"
    ):
        OutputStore(Folder(str(tmp_path))).check_settings(RECORD)


def test_questions_may_come_and_go_and_come_back_unchanged(uri: str) -> None:
    OutputStore(Folder(uri)).check_settings(RECORD)
    other = {**{k: v for k, v in RECORD.items() if not k.endswith(" a")}, "question b": asked()}
    OutputStore(Folder(uri)).check_settings(other)
    OutputStore(Folder(uri)).check_settings(RECORD)
    with pytest.raises(SettingsChangedError, match='question a: text was "A", is "C"'):
        OutputStore(Folder(uri)).check_settings({**other, "question a": asked("C")})


def test_damaged_settings_are_refused(tmp_path: Path) -> None:
    store = OutputStore(Folder(str(tmp_path)))
    for text, message in (("{", "not valid JSON"), ("[1]", "expected a JSON object, found list")):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(UsageError, match=f"{message}.*; put back the file .* or choose another --output"):
            store.check_settings(RECORD)
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(UsageError, match=f"{message}.*; delete it, and the next run writes it again"):
            store.read_run()
