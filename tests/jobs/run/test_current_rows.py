"""What is current after runs over other inputs, other questions and changed files; the engine is a plain loop."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.model_choice import ModelChoice
from jobs.run import job as run_module
from jobs.run.job import run_job
from jobs.run.loop_engine import LoopEngine
from jobs.run.prepare import answer_settings, frozen_settings
from jobs.run.ray_workers import ActorConfig
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.errors import SettingsChangedError
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import QuestionSet, parse_questions
from pipeline.records import Bundle, Receipt
from tests.support.colours import RED, WHITE, make_pdf
from tests.support.helpers import FakePageAnswerer
from tests.support.loop import run_loop

A, B = "{id: a, text: 'A?'}", "{id: b, text: 'B?', pages: '1'}"


def asked(*questions: str) -> QuestionSet:
    return parse_questions(f"version: 1\nquestions: [{', '.join(questions)}]", "q.yaml")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Two folders with a document of the same name, and one document more in the first."""
    for name in ("one/same.pdf", "one/more.pdf", "two/same.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_pdf(tmp_path / name, [WHITE] * 2)
    return tmp_path


@pytest.fixture(autouse=True)
def _plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop(LoopEngine):
        def receipts(
            self, bundles: Sequence[Bundle], config: ActorConfig, resources: Any, load: Any
        ) -> Iterator[Receipt]:
            store = OutputStore(Folder(config.output), config.command, config.run_id)
            with RenderChild() as child:
                answerer = BundleAnswerer(FakePageAnswerer(), store, Markers(store.folder))  # type: ignore[arg-type]
                yield from run_loop(bundles, child, answerer, config.settings)

    monkeypatch.setattr(run_module, "choose_engine", lambda *_: (Loop(), "a test"))


@pytest.fixture
def run(inputs: Path, tiny_base: Path) -> Any:
    def go(questions: QuestionSet, *given: str, **more: Any) -> dict[str, Any]:
        settings = RunSettings(
            input=tuple(str(inputs / name) for name in given),
            questions="q.yaml",
            output=str(inputs / "out"),
            model=str(tiny_base),
            max_visual_tokens=16,
            quiet=True,
            **more,
        )
        return run_job(settings, questions)

    return go


def rows(inputs: Path, table: str = "answers", *, current: bool | None = None) -> list[dict[str, Any]]:
    found = pq.read_table(inputs / "out" / table).to_pylist()
    return [row for row in found if current is None or row["is_current"] is current]


def places(found: Sequence[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    return Counter((Path(row["source"]).name, row["document"], row["question_id"]) for row in found)


def test_point_15_two_inputs_in_turn_lose_nothing_and_the_last_is_current(inputs: Path, run: Any) -> None:
    first = run(asked(A), "one")
    second = run(asked(A), "two")
    assert (first["counts"]["answered"], second["counts"]["answered"]) == (4, 2)
    assert places(rows(inputs)) == {
        ("one", "same.pdf", "a"): 2,
        ("one", "more.pdf", "a"): 2,
        ("two", "same.pdf", "a"): 2,
    }
    assert places(rows(inputs, current=True)) == {("two", "same.pdf", "a"): 2}
    assert places(rows(inputs, "documents")) == {("two", "same.pdf", "a"): 1}
    assert {(Path(row["source"]).name, row["run_id"]) for row in rows(inputs)} == {
        ("one", first["run_id"]),
        ("two", second["run_id"]),
    }
    assert first["run_id"] < second["run_id"] or first["started_at"] == second["started_at"]
    assert json.loads((inputs / "out" / "run.json").read_text())["run_id"] == second["run_id"]
    both = run(asked(A), "one", "two")
    assert both["this_run"]["rows"] == 0
    assert rows(inputs, current=False) == []
    assert len(rows(inputs, "documents")) == 3


def test_point_15_a_changed_document_and_a_deleted_one_stay_but_are_not_current(inputs: Path, run: Any) -> None:
    run(asked(A), "one")
    make_pdf(inputs / "one" / "same.pdf", [WHITE] * 3)
    os.utime(inputs / "one" / "same.pdf", ns=(1, 1))
    (inputs / "one" / "more.pdf").unlink()
    report = run(asked(A), "one")
    assert report["counts"]["planned"] == 3
    assert places(rows(inputs, current=False)) == {("one", "same.pdf", "a"): 2, ("one", "more.pdf", "a"): 2}
    assert places(rows(inputs, current=True)) == {("one", "same.pdf", "a"): 3}
    assert Counter(row["is_current"] for row in rows(inputs, "pages")) == {True: 3, False: 4}
    (row,) = rows(inputs, "documents")
    assert (row["document"], row["pages_asked"], row["run_id"]) == ("same.pdf", 3, report["run_id"])


def test_point_15_an_unasked_question_is_not_current_until_it_is_asked_again(inputs: Path, run: Any) -> None:
    run(asked(A, B), "one")
    run(asked(A), "one")
    assert {row["question_id"] for row in rows(inputs, current=False)} == {"b"}
    assert {row["question_id"] for row in rows(inputs, "documents")} == {"a"}
    assert run(asked(B, A), "one")["this_run"]["rows"] == 0
    assert rows(inputs, current=False) == []


def test_point_15_a_limit_makes_the_rest_no_longer_current(inputs: Path, run: Any) -> None:
    run(asked(A), "one")
    run(asked(A), "one", limit=1)
    assert {row["document"] for row in rows(inputs, current=True)} == {"more.pdf"}
    assert {row["document"] for row in rows(inputs, current=False)} == {"same.pdf"}


def test_point_15_an_input_in_other_words_is_not_answered_again(
    inputs: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(asked(A), "one")
    (inputs / "link").symlink_to("one")
    for given in ("two/../one", "link"):
        assert run(asked(A), given)["this_run"]["rows"] == 0
        for table in ("answers", "pages", "documents"):
            assert {row["source"] for row in rows(inputs, table)} == {str(inputs / given)}


def test_point_15_two_inputs_in_turn_with_files_of_the_same_name_size_and_time(inputs: Path, run: Any) -> None:
    """As an archive without times leaves them: only the content differs, and it is read."""
    paths = [inputs / name / "same.pdf" for name in ("one", "two")]
    make_pdf(paths[1], [RED] * 2)
    size = max(path.stat().st_size for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes().ljust(size, b"\n"))
        os.utime(path, ns=(1, 1))
    (inputs / "one" / "more.pdf").unlink()
    for name in ("one", "two"):
        assert run(asked(A), name)["this_run"]["rows"] == 2
    found = {Path(row["source"]).name: row for row in rows(inputs)}
    assert found.keys() == {"one", "two"}
    assert found["one"]["document_sha256"] != found["two"]["document_sha256"]
    assert found["one"]["answer"] != found["two"]["answer"]


def test_point_16_what_no_answer_depends_on_is_not_refused_and_not_computed_again(inputs: Path, run: Any) -> None:
    run(asked(A, B), "one")
    # Nothing is pruned, so what the question keeps does not matter.
    other = "{id: a, text: 'A?', type: money, constrain: false, aggregate: sum, pages: ' all', keep: {min_tokens: 9}}"
    report = run(asked(B, other), "one")
    assert (report["exit_code"], report["this_run"]["rows"]) == (0, 0)
    assert rows(inputs, current=False) == []
    assert {row["chosen_by"] for row in rows(inputs, "documents") if row["question_id"] == "a"} == {
        "sum: 2 of 2 answers have no number"
    }


def test_a_type_with_other_limits_is_asked_again_and_not_refused(inputs: Path, run: Any) -> None:
    run(asked(A, B), "one")
    before = [row for row in rows(inputs) if row["question_id"] == "a"]
    report = run(asked(B, "{id: a, text: 'A?', type: money}"), "one")
    assert (report["exit_code"], report["this_run"]["rows"]) == (0, len(before))
    assert {row["question_id"] for row in rows(inputs, current=False)} == {"a"}
    assert run(asked(B, "{id: a, text: 'A?', type: money, locale: de_DE}"), "one")["this_run"]["rows"] == 0


@pytest.mark.parametrize(
    ("question", "more", "told"),
    [
        ("{id: a, text: 'Z?'}", {}, 'question a: text was "A?", is "Z?"'),
        ("{id: a, text: 'A?', pages: '1'}", {}, 'question a: pages was "all", is "1"'),
        ("{id: a, text: 'A?', max_new_tokens: 5}", {}, "question a: max_new_tokens was 64, is 5"),
        ("{id: a, text: 'A?', type: choice, choices: [x, y]}", {}, "question a: choices was not set, is x, y"),
        (A, {"max_visual_tokens": 15}, "--max-visual-tokens was 16, is 15"),
        (A, {"dpi": 72}, "--dpi was 200, is 72"),
        (A, {"repetition_penalty": 1.0}, "--repetition-penalty was not set, is 1.0"),
        (A, {"model": "nano"}, ", is nano\n"),
        (A, {"model": "nano"}, "--prune was off, is glimpse\n"),
    ],
)
def test_point_16_a_refusal_says_what_changed_from_what_to_what(
    tmp_path: Path, tiny_base: Path, question: str, more: dict[str, Any], told: str
) -> None:
    store = OutputStore(Folder(str(tmp_path)))
    given = {"model": str(tiny_base), "max_visual_tokens": 16}
    before = answer_settings(ModelChoice(**given), seed=0)
    store.check_settings(frozen_settings(before, asked(A)))
    with pytest.raises(SettingsChangedError) as caught:
        store.check_settings(frozen_settings(answer_settings(ModelChoice(**given | more), seed=0), asked(question)))
    message = str(caught.value)
    assert told in message
    assert message.endswith("Or take another --output")
    assert before.model_fingerprint not in message
