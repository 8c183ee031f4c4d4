"""`docpipe plan` refuses what `docpipe run` would refuse before it asks anything, and writes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.commands.forecast import forecast
from jobs.run.job import run_job
from jobs.settings import RunSettings
from pipeline.errors import ModelError, SettingsChangedError, UsageError
from pipeline.questions.file import QuestionSet, parse_questions
from tests.support.colours import WHITE, make_pdf

TEXT = (
    "version: 1\nquestions: [{id: a, text: A, max_new_tokens: 2}, {id: both, text: B, pages: 1+2, max_new_tokens: 2}]"
)
ASKED = parse_questions(TEXT, "q.yaml")


@pytest.fixture
def given(tmp_path: Path, tiny_base: Path) -> dict[str, Any]:
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE, (9, 9, 9), WHITE])
    return {
        "input": (str(tmp_path / "in"),),
        "questions": "q.yaml",
        "output": str(tmp_path / "out"),
        "model": str(tiny_base),
        "max_visual_tokens": 16,
        "device": "cpu",
        "engine": "local",
        "quiet": True,
    }


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def planned(given: dict[str, Any], asked: QuestionSet = ASKED) -> str:
    return forecast(RunSettings(**given), asked)


def test_a_plan_counts_pages_together_once_and_their_memory_whole(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = dict(line.split(maxsplit=1) for line in planned(given).splitlines())
    assert lines["units"] == "2, of which 0 are done"
    assert lines["answers"] == "4, of which 4 are to do"
    assert lines["visual"] == "tokens    48 on 3 pages to do, 16 per page"
    assert not Path(given["output"]).exists()
    largest: list[int] = []
    monkeypatch.setattr("jobs.commands.forecast._memory", lambda _, tokens: largest.append(tokens))
    planned(given)
    planned(given, parse_questions(TEXT.replace("1+2", "1-2"), "q.yaml"))
    assert largest == [32, 16]


def test_what_has_changed_since_the_run_is_refused(given: dict[str, Any], tmp_path: Path) -> None:
    run_job(RunSettings(**given), ASKED)
    before = files_below(tmp_path / "out")
    assert "4, of which 0 are to do" in planned(given)
    with pytest.raises(SettingsChangedError, match="--dpi was 200, is 90"):
        planned({**given, "dpi": 90})
    with pytest.raises(SettingsChangedError, match=r'question both: pages was "1\+2", is "1,2"'):
        planned(given, parse_questions(TEXT.replace("1+2", '"1,2"'), "q.yaml"))
    with pytest.raises(SettingsChangedError, match=r"--device \(with --dtype auto\) was cpu, is cuda"):
        planned({**given, "device": "cuda"})
    assert files_below(tmp_path / "out") == before


def test_what_cannot_run_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--attn flash_attention_2 needs a GPU"):
        planned({**given, "attn": "flash_attention_2"})
    doubtful = parse_questions(TEXT.replace("text: A", "text: A, review_below: 0.5"), "q.yaml")
    with pytest.raises(UsageError, match="--review-below needs a calibration"):
        planned(given, doubtful)
    tables = Path(given["output"], "answers")
    tables.mkdir(parents=True)
    (tables / "mine.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"mine\.parquet"):
        planned(given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_config": None}, "expected an object as text_config, found null"),
        ({"vision_config": [1]}, r"expected an object as vision_config, found \[1\]"),
        ({"text_config": {"hidden_size": "large"}}, 'expected a whole number as hidden_size, found "large"'),
        ({"text_config": {"num_attention_heads": 0}}, "expected a whole number as num_attention_heads, found 0"),
    ],
)
def test_a_configuration_that_cannot_be_one_is_refused_by_its_field(
    given: dict[str, Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    shutil.copytree(given["model"], tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    wrong = {**given, "model": str(tmp_path / "model")}
    for work in (planned, lambda given: run_job(RunSettings(**given), ASKED)):
        with pytest.raises(ModelError, match=message):
            work(wrong)
    assert not Path(given["output"], "parts").exists()
