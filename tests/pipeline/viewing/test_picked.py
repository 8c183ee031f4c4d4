from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.file_names import readable
from pipeline.output.folder import Folder
from pipeline.viewing import published
from pipeline.viewing.picked import find_document, pick_row
from pipeline.viewing.published import read_published
from tests.support.viewed import answer, write_output


@pytest.fixture(params=[2, 50_000])
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Folder:
    monkeypatch.setattr(published, "_ROWS_AT_A_TIME", request.param)
    rows = [
        answer(document_id="1", document="x/a.pdf", source="in", page=1, answer="n/a", status="not_answerable"),
        answer(document_id="1", document="x/a.pdf", source="in", page=2, answer="low", confidence=0.2),
        answer(document_id="1", document="x/a.pdf", source="in", page=3, answer="high", confidence=None),
        answer(document_id="1", document="x/a.pdf", source="in", page=4, answer="best", confidence=0.8),
        answer(document_id="2", document="y/a.pdf", source="in", answer="other"),
        answer(document_id="3", document="line\nbreak.pdf", source="in", answer="odd"),
    ]
    return write_output(tmp_path, rows)


def picked(folder: Folder, name: str, question: str = "total", page: int | None = None) -> dict[str, Any]:
    return pick_row(read_published(folder, document_id=find_document(folder, name)), name, question, page)


@pytest.mark.parametrize("name", ["x/a.pdf", "1", "in/x/a.pdf"])
def test_the_best_answer_of_a_document_is_picked(run: Folder, name: str) -> None:
    assert picked(run, name)["answer"] == "best"
    assert picked(run, name, page=2)["answer"] == "low"


def test_a_name_is_taken_as_it_is_or_as_it_is_shown(run: Folder) -> None:
    assert picked(run, "line\nbreak.pdf")["answer"] == "odd"
    assert picked(run, "line\\nbreak.pdf")["answer"] == "odd"


def test_a_name_that_is_not_utf8_is_taken_as_the_shell_gives_it(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xffd.pdf")
    rows = [answer(document_id="1", document=f"x/{readable(name)}")]
    folder = write_output(tmp_path / "out", rows)
    for given in (name, f"x/{name}", readable(name)):
        assert find_document(folder, given) == "1"
    with pytest.raises(UsageError, match=r"no document c.xff\.pdf in"):
        find_document(folder, os.fsdecode(b"c\xff.pdf"))


def test_a_run_without_answers_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no answers yet; give its `docpipe run` command once more"):
        find_document(write_output(tmp_path, []), "a.pdf")


@pytest.mark.parametrize(
    ("name", "question", "page", "message"),
    [
        ("a.pdf", "total", None, r"2 documents are called a\.pdf; .*x/a\.pdf \(1\), y/a\.pdf \(2\)"),
        (
            "b.pdf",
            "total",
            None,
            r"no document b\.pdf in .*; there is (x/a\.pdf, y/a\.pdf|y/a\.pdf, x/a\.pdf), for example",
        ),
        ("x/a.pdf", "totl", None, "no question 'totl' was asked of x/a.pdf; there is total"),
        ("x/a.pdf", "total", 9, "--page 9: 'total' was asked on page 1, 2, 3, 4 of x/a.pdf"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    run: Folder, name: str, question: str, page: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        picked(run, name, question, page)
