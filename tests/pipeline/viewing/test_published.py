from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.output.asked import read_asked
from pipeline.output.export.rows import read_rows
from pipeline.output.folder import Folder
from pipeline.output.reviews import add_reviews
from pipeline.output.schema import ANSWERS
from pipeline.viewing.published import read_published, rows_of, share_within
from tests.support.exported import asked_of, output_folder
from tests.support.viewed import QUESTIONS, answer, failure, page, review, write_output

MONEY = "version: 1\nquestions: [{id: a, text: A, type: money, locale: en_US}]"


def test_current_rows_run_and_questions_are_read(tmp_path: Path) -> None:
    old = answer(document="old.pdf", is_current=False)
    folder = write_output(tmp_path / "out", [answer(), old], [page()], [failure(document="locked.pdf")])
    run = read_published(folder)
    assert run.answers["document"].to_pylist() == ["a.pdf"]
    assert run.answers.schema.names == [*ANSWERS.names, "reviewed", "model_answer", "model_value", "model_confidence"]
    assert (len(run.pages), run.failures["document"].to_pylist()) == (1, ["locked.pdf"])
    assert run.questions == QUESTIONS
    assert run.run["run_id"] == "run-1"


@pytest.mark.parametrize(
    ("said", "status", "value"),
    [("1,903.88", "answered", "1903.88"), ("N/A", "not_answerable", None), ("many", "needs_review", None)],
)
def test_what_a_person_said_stands_in_the_place_of_what_the_model_said(
    tmp_path: Path, said: str, status: str, value: str | None
) -> None:
    rows = [
        answer(unit_id="a", answer="7", value="7", status="needs_review", review_reasons=["value"]),
        answer(unit_id="b", answer="n/a", status="not_answerable"),
        answer(unit_id="c"),
    ]
    reviews = [review(said, unit_id=unit) for unit in "ab"]
    first, second, third = read_published(
        write_output(tmp_path, rows, reviews=reviews, types={"total": "number"})
    ).answers.to_pylist()
    for row, model in ((first, "7"), (second, "n/a")):
        assert (row["answer"], row["status"], row["value"]) == (said, status, value)
        assert (row["value_error"] is None) == (status != "needs_review")
        assert (row["reviewed"], row["review_reasons"], row["confidence"]) == (True, None, None)
        assert (row["model_answer"], row["model_confidence"]) == (model, 0.9)
    assert (third["reviewed"], third["confidence"], third["model_answer"]) == (False, 0.9, None)


def test_exports_and_what_people_look_at_agree(tmp_path: Path) -> None:
    folder = output_folder(tmp_path / "out", {"a": [["12?", "$ 7.50"], ["n/a", "99 USD"]]}, asked_of(MONEY))
    columns = ("unit_id", "page", "document_id", "document", "question_id", "answer")
    said = {"12": "n/a", "n/a": "5 USD", "99 USD": "much"}
    before = rows_of(read_published(folder).answers, columns)
    add_reviews(folder, [review(said[row["answer"]], **row) for row in before if row["answer"] in said])
    seen = ("unit_id", "page", "status", "answer", "value", "value_error", "confidence", "review_reasons", "reviewed")
    exported = [{name: row[name] for name in seen} for row in read_rows(folder, read_asked(folder), "pages")]
    assert sorted(row["status"] for row in exported) == ["answered", "answered", "needs_review", "not_answerable"]
    assert sorted(map(str, rows_of(read_published(folder).answers, seen))) == sorted(map(str, exported))


def test_of_many_rows_a_share_of_the_documents_is_read(tmp_path: Path) -> None:
    ids = [f"{number:x}" * 16 for number in range(16)]
    rows = [answer(document_id=name, unit_id=f"{name}{n}") for name in ids for n in range(3)]
    about = [page(document_id=name) for name in ids], [failure(document_id=name) for name in ids]
    folder, small = write_output(tmp_path / "many", rows, *about), write_output(tmp_path / "few", rows[:3])
    assert (share_within([folder, small], 48), share_within([small, folder], 12)) == (1.0, 0.25)
    run = read_published(folder, 0.25)
    for table, each in ((run.answers, 3), (run.pages, 1), (run.failures, 1)):
        assert table["document_id"].to_pylist() == [name for name in ids[:4] for _ in range(each)]
    assert (run.share, len(read_published(folder).answers)) == (0.25, 48)


def test_a_folder_without_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="expected the output folder of `docpipe run`, found no answers"):
        read_published(Folder(str(tmp_path / "other")))
    with pytest.raises(UsageError, match="found no answers"):
        read_published(Folder(str(tmp_path / "none")))


def test_columns_that_another_version_lacks_are_null(tmp_path: Path) -> None:
    folder = write_output(tmp_path, [answer()])
    (file,) = (tmp_path / "answers").iterdir()
    pq.write_table(pq.read_table(file).drop_columns(["value", "confidence", "evidence"]), file)
    (row,) = read_published(folder).answers.to_pylist()
    assert (row["answer"], row["confidence"], row["evidence"]) == ("1903.88", None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [("no table", "is damaged"), ("other table", "has no column document_id; it was made by another program")],
)
def test_files_of_somebody_else_are_named(tmp_path: Path, content: str, message: str) -> None:
    folder = write_output(tmp_path, [answer()])
    (file,) = (tmp_path / "answers").iterdir()
    if content == "no table":
        file.write_bytes(b"text")
    else:
        pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(UsageError, match=f"{file.name} {message}"):
        read_published(folder)
