"""The confidence follows from the present calibration, whenever the answers were given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.confidence.calibration import Calibration
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.output.typed import READINGS, with_columns
from pipeline.questions.values import Reading
from pipeline.records import Status
from tests.support.bundles import questions, result_of, units_and_bundles
from tests.support.calibrations import believing
from tests.support.published import everything

ASKED = questions("version: 1\nquestions:\n  - {id: a, text: A}\n  - {id: b, text: B}\n")
FIRST = believing()
SECOND = FIRST.model_copy(update={"bias": -0.7})  # believes less
REVIEW = {"a": Reading(review_below=0.4), "b": Reading(review_below=0.0)}


@pytest.fixture
def store(tmp_path: Path) -> OutputStore:
    return OutputStore(Folder(str(tmp_path)))


def commit(store: OutputStore, answers: Sequence[str], statuses: Sequence[Status]) -> None:
    """One document with a page for each answer, which both questions get; page n is answered with 1 / (1 + n)."""
    _, bundles = units_and_bundles([len(answers)], ASKED)
    for bundle in bundles:
        result = result_of(bundle)
        rows = tuple(
            dataclasses.replace(row, answer=answers[page - 1], status=statuses[page - 1], review_reasons=())
            for row in result.answers
            if (page := row.page) is not None
        )
        store.commit(dataclasses.replace(result, answers=rows))


def published(
    store: OutputStore, readings: dict[str, Reading], calibration: Calibration | None, *names: str
) -> dict[str, list[tuple[Any, ...]]]:
    """Publish, and return columns of the rows of each question in page order."""
    publish(store, readings, everything(store), calibration)
    rows = pq.read_table(f"{store.folder.root}/answers").to_pylist()
    return {q: [tuple(row[name] for name in names) for row in rows if row["question_id"] == q] for q in ("a", "b")}


def test_without_a_calibration_there_is_no_confidence_but_what_the_model_says(store: OutputStore) -> None:
    commit(store, ["x", "y"], ["answered", "answered"])
    found = published(store, {}, None, "confidence", "confidence_raw")
    assert found["a"] == found["b"] == [(None, pytest.approx(1 / 2)), (None, pytest.approx(1 / 3))]
    (document, _) = pq.read_table(f"{store.folder.root}/documents").to_pylist()
    assert (document["answer"], document["confidence"]) == ("x", None)


def test_another_calibration_makes_the_confidence_again_and_asks_nothing(store: OutputStore) -> None:
    commit(store, ["x", "y"], ["answered", "answered"])
    found = published(store, {}, FIRST, "confidence")
    assert found["a"] == found["b"] == [(pytest.approx(1 / 2),), (pytest.approx(1 / 3),)]
    less = published(store, {}, SECOND, "confidence")
    assert less["a"] == less["b"]
    assert 0 < less["a"][1][0] < less["a"][0][0] < 0.5
    assert published(store, {}, None, "confidence")["a"] == [(None,)] * 2


def test_files_are_written_again_only_for_another_calibration(store: OutputStore) -> None:
    commit(store, ["x"], ["answered"])
    published(store, {}, FIRST)
    (file,) = Path(store.folder.root, "answers").iterdir()
    before = file.stat().st_mtime_ns
    published(store, {}, FIRST.model_copy(deep=True))
    assert file.stat().st_mtime_ns == before
    published(store, {}, SECOND)
    assert file.stat().st_mtime_ns > before


def test_doubtful_answers_need_review_and_may_be_accepted_again(store: OutputStore) -> None:
    commit(store, ["x", "y", "z"], ["answered", "answered", "needs_review"])
    names = ("status", "review_reasons")
    fine, doubtful = ("answered", []), ("needs_review", ["confidence"])
    found = published(store, REVIEW, FIRST, *names)
    # Page 3 was to be reviewed for no reason that parts hold, so only its confidence counts.
    assert found["a"] == [fine, doubtful, doubtful]
    assert found["b"] == [fine, fine, fine]
    assert published(store, {"a": Reading("date", review_below=0.4)}, FIRST, *names)["a"] == [
        ("needs_review", ["value"]),
        ("needs_review", ["value", "confidence"]),
        ("needs_review", ["value", "confidence"]),
    ]
    assert published(store, REVIEW, SECOND, *names)["a"] == [doubtful] * 3
    assert published(store, {"a": Reading(review_below=0.0)}, SECOND, *names)["a"] == [fine] * 3
    assert published(store, REVIEW, None, *names)["a"] == [fine] * 3


def test_answers_likelier_wrong_than_right_need_review_where_nobody_says_otherwise(store: OutputStore) -> None:
    commit(store, ["x", "y"], ["answered", "answered"])
    names = ("confidence", "status", "review_reasons")
    found = published(store, {"a": Reading(), "b": Reading(review_below=0.0)}, FIRST, *names)
    half, third = (pytest.approx(1 / 2), "answered", []), pytest.approx(1 / 3)
    assert found == {"a": [half, (third, "needs_review", ["confidence"])], "b": [half, (third, "answered", [])]}


def test_a_doubtful_no_needs_review_stays_a_no_and_is_taken_back(store: OutputStore) -> None:
    commit(store, ["n/a", "n/a"], ["not_answerable", "not_answerable"])
    names = ("status", "answer", "value", "value_error", "review_reasons")
    sure, doubtful = ("not_answerable", "n/a", None, None, []), ("needs_review", "n/a", None, None, ["confidence"])
    asked = {"a": Reading("date", review_below=0.4), "b": Reading("date", review_below=0.0)}
    assert published(store, asked, FIRST, *names) == {"a": [sure, doubtful], "b": [sure, sure]}
    documents = {row["question_id"]: row for row in pq.read_table(f"{store.folder.root}/documents").to_pylist()}
    assert (documents["a"]["status"], documents["a"]["answer"]) == ("needs_review", None)
    assert documents["b"]["status"] == "not_answerable"
    assert published(store, asked, SECOND, *names)["a"] == [doubtful, doubtful]
    accepted = {"a": Reading("integer", review_below=0.0), "b": Reading()}
    assert published(store, accepted, SECOND, *names)["a"] == [sure, sure]


def test_a_question_that_is_not_asked_any_more_is_read_as_before(store: OutputStore) -> None:
    commit(store, ["12", "13"], ["answered", "answered"])
    typed = {"a": Reading("integer", review_below=0.4), "b": Reading()}
    names = ("value", "status", "confidence")
    before = published(store, typed, FIRST, *names)
    assert [row[:2] for row in before["a"]] == [("12", "answered"), ("13", "needs_review")]
    after = published(store, {"b": Reading()}, SECOND, *names)
    assert [row[:2] for row in after["a"]] == [("12", "needs_review"), ("13", "needs_review")]
    assert all(new[2] < old[2] for new, old in zip(after["a"], before["a"], strict=True))


def test_answers_that_an_earlier_version_read_are_read_again(store: OutputStore) -> None:
    commit(store, ["INV-2024-05-18"], ["answered"])
    asked = {"a": Reading("date"), "b": Reading()}
    assert published(store, asked, None, "value", "status")["a"] == [(None, "needs_review")]
    (file,) = Path(store.folder.root, "answers").iterdir()
    rows = pq.read_table(file)
    footer = {name.decode(): text.decode() for name, text in rows.schema.metadata.items()}
    signatures = json.loads(footer[READINGS])
    footer[READINGS] = json.dumps({name: json.dumps(json.loads(text)[:-1]) for name, text in signatures.items()})
    then = ['"2024-05-18"' if name == "a" else None for name in rows["question_id"].to_pylist()]
    pq.write_table(with_columns(rows, {"value": then}).replace_schema_metadata(footer), file)
    assert published(store, asked, None, "value", "status")["a"] == [(None, "needs_review")]


def test_pages_that_the_model_did_not_see_have_no_confidence(store: OutputStore) -> None:
    _, bundles = units_and_bundles([1], ASKED)
    result = result_of(bundles[0])
    blank = dataclasses.replace(
        result.answers[0], answer=None, status="not_answerable", finish_reason="blank", review_reasons=(),
        logprob_mean=None, logprob_min=None, logprob_first=None, margin_min=None, confidence_raw=None, new_tokens=None,
    )  # fmt: skip
    store.commit(dataclasses.replace(result, answers=(blank, *result.answers[1:])))
    found = published(store, {name: Reading(review_below=1.0) for name in "ab"}, FIRST, "status", "confidence")
    assert ("not_answerable", None) in [*found["a"], *found["b"]]
