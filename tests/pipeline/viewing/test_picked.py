from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.viewing.picked import pick_row
from pipeline.viewing.published import Published, read_published
from tests.support.viewed import answer, write_output


@pytest.fixture
def run(tmp_path: Path) -> Published:
    rows = [
        answer(document_id="1", document="x/a.pdf", source="in", page=1, answer="n/a", status="not_answerable"),
        answer(document_id="1", document="x/a.pdf", source="in", page=2, answer="low", confidence=0.2),
        answer(document_id="1", document="x/a.pdf", source="in", page=3, answer="high", confidence=None),
        answer(document_id="1", document="x/a.pdf", source="in", page=4, answer="best", confidence=0.8),
        answer(document_id="2", document="y/a.pdf", source="in", answer="other"),
        answer(document_id="3", document="line\nbreak.pdf", source="in", answer="odd"),
    ]
    return read_published(write_output(tmp_path, rows))


@pytest.mark.parametrize("name", ["x/a.pdf", "1", "in/x/a.pdf"])
def test_the_best_answer_of_a_document_is_picked(run: Published, name: str) -> None:
    assert pick_row(run, name, "total", None)["answer"] == "best"
    assert pick_row(run, name, "total", 2)["answer"] == "low"


def test_a_name_is_taken_as_it_is_or_as_it_is_shown(run: Published) -> None:
    assert pick_row(run, "line\nbreak.pdf", "total", None)["answer"] == "odd"
    assert pick_row(run, "line\\nbreak.pdf", "total", None)["answer"] == "odd"


def test_a_run_without_answers_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no answers yet; give its `docpipe run` command once more"):
        pick_row(read_published(write_output(tmp_path, [])), "a.pdf", "total", None)


@pytest.mark.parametrize(
    ("name", "question", "page", "message"),
    [
        ("a.pdf", "total", None, r"2 documents are called a\.pdf; .*x/a\.pdf \(1\), y/a\.pdf \(2\)"),
        ("b.pdf", "total", None, r"no document b\.pdf among the 3 of"),
        ("x/a.pdf", "totl", None, "no question 'totl' was asked of x/a.pdf; there is total"),
        ("x/a.pdf", "total", 9, "--page 9: 'total' was asked on page 1, 2, 3, 4 of x/a.pdf"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    run: Published, name: str, question: str, page: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        pick_row(run, name, question, page)
