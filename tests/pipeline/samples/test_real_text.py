"""Pieces of real pages: what is asked stands there once, what is answered is what is printed behind it."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pymupdf
import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from pipeline.datasets.load import load_examples
from pipeline.errors import UsageError
from pipeline.questions.file import load_questions
from pipeline.samples.line_questions import absent_words, cuts
from pipeline.samples.real_text import RealPage, find_pdfs, make_real_page

_ASKED = re.compile(r"^What (?:is the text after|comes after) (['\"])(.*)\1\?$")


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pages of print with what makes truth hard: columns, gaps, lines that stand, hidden words, a crop box."""
    rng = random.Random(5)
    path = tmp_path_factory.mktemp("manual") / "manual.pdf"
    with pymupdf.open() as document:
        for number in range(3):
            page = document.new_page(width=595, height=842)
            for row in range(50):
                words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(9)]
                y = 40 + 15 * row
                if row % 5 == 4:  # a table: blanks as wide as a column
                    for column, word in enumerate(words[:4]):
                        page.insert_text((40 + 130 * column, y), f"{word} cell", fontsize=10)
                elif row % 5 == 3:  # print close behind a line, of another font and a little higher
                    width = pymupdf.get_text_length(" ".join(words[:5]), fontsize=10)
                    page.insert_text((40, y), " ".join(words[:5]), fontsize=10)
                    page.insert_text((40 + width + 9, y - 2), "beside", fontname="tibo", fontsize=10)
                elif row % 5 == 2:  # a gap within a line
                    page.insert_text((40, y), f"{' '.join(words[:3])}{' ' * 12}beyond it", fontsize=10)
                else:
                    page.insert_text((40, y), " ".join(words), fontsize=10)
            for y in (200, 400, 600, 800):
                page.insert_text((520, y), "this stands upright on its side", fontsize=10, rotate=90)
            page.insert_text((300, 795), "nobody can see these words", fontsize=10, render_mode=3)
            if number == 1:
                page.set_cropbox(pymupdf.Rect(20, 30, 580, 830))
        document.save(path)
    return path


@pytest.fixture(scope="module")
def pages(manual: Path) -> list[RealPage]:
    return [make_real_page(seed, [manual]) for seed in range(12)]


def seen(page: RealPage) -> str:
    with pymupdf.open(stream=page.pdf) as document:
        (only,) = document
        assert (only.rect.width, only.rect.height) == (page.width_pt, page.height_pt) != (595, 842)
        words = only.get_text("words")
        partly = [w[4] for w in words if w[0] < page.width_pt and w[1] < page.height_pt and w[2] > 0 and w[3] > 0]
        return " ".join(partly)


def test_what_is_asked_stands_there_once_and_is_followed_by_the_answer(pages: list[RealPage]) -> None:
    asked = 0
    for page in pages:
        whole = seen(page)
        for question in page.questions:
            found = _ASKED.match(question.text)
            assert found is not None
            if question.answer == "n/a":
                assert found[2] not in whole
                assert question.box is None
            else:
                asked += 1
                assert whole.count(found[2]) == 1
                assert f"{found[2]} {question.answer}" in whole
    assert asked > 40


def test_an_answer_stands_in_its_box_and_ends_its_line(pages: list[RealPage]) -> None:
    for page in pages:
        with pymupdf.open(stream=page.pdf) as document:
            words = document[0].get_text("words")
            for question in page.questions:
                box = question.box
                if box is None:
                    continue
                assert 0 < box.x0 < box.x1 < page.width_pt
                assert 0 < box.y0 < box.y1 < page.height_pt
                middle = (box.y0 + box.y1) / 2
                row = sorted(w for w in words if w[1] < middle < w[3] and w[2] > box.x0 + 1)
                inside = [w[4] for w in row if w[0] < box.x1]
                assert " ".join(inside) == question.answer
                behind = [w for w in row if w[0] >= box.x1]
                assert not behind or behind[0][0] - box.x1 > 10


def test_hidden_words_lines_that_stand_and_lines_with_gaps_are_not_asked_about(pages: list[RealPage]) -> None:
    said = " ".join(f"{question.text} {question.answer}" for page in pages for question in page.questions)
    assert not any(word in said for word in ("nobody", "upright", "side", "beyond"))


def test_the_same_seed_gives_the_same_bytes(manual: Path, pages: list[RealPage]) -> None:
    assert make_real_page(3, [manual]) == pages[3]
    assert len({page.pdf for page in pages}) == len(pages)


def test_a_line_is_cut_where_a_short_rest_follows() -> None:
    assert [("a b c d"[i:j]) for i, j in cuts("a b c d", "a b c d")] == ["b", "a b", "a"]  # "d" alone is too short
    assert cuts("a b c d", "a b c d a b c d") == []
    assert cuts("it's here now", "it's here now") == []
    long = "one " + "x" * 27
    assert cuts(long, long) == []
    assert absent_words("one two", "one two three") == "two one"
    assert absent_words("one two", "one two one") is None
    assert absent_words("one", "one two") is None


def test_the_command_writes_what_eval_and_run_read(manual: Path, tmp_path: Path) -> None:
    arguments = ["samples", "--out", str(tmp_path), "--documents", "3", "--seed", "4"]
    result = CliRunner().invoke(app, [*arguments, "--family", "real-text", "--pdfs", str(manual.parent)])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    examples = load_examples(tmp_path)
    assert [e.question for e in examples] == [q["text"] for row in rows for q in row["questions"]]
    assert {e.document for e in examples} == set((tmp_path / "pdfs").iterdir())
    assert {e.answerable for e in examples} == {True, False}
    questions = load_questions(str(tmp_path / "questions.yaml")).questions
    assert [(q.text, q.documents) for q in questions] == [(e.question, e.document.name) for e in examples]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--family", "real-text"], "expected --pdfs"),
        (["--family", "open", "--pdfs", "."], "expected --family real-text"),
        (["--family", "real-text", "--pdfs", "nowhere"], "nowhere"),
        (["--family", "novels"], "real-text"),
    ],
)
def test_the_command_says_what_is_missing(arguments: list[str], told: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["samples", "--out", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert told in result.output
    assert not (tmp_path / "out").exists()


def test_pdfs_without_text_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pymupdf.open() as document:
        document.new_page()
        document.save(tmp_path / "blank.pdf")
    with pytest.raises(UsageError, match="none with 3 lines"):
        make_real_page(0, [tmp_path / "blank.pdf"])
    (tmp_path / "torn.pdf").write_bytes(b"no PDF")
    with pytest.raises(UsageError, match=r"torn\.pdf"):
        make_real_page(0, [tmp_path / "torn.pdf"])
    with pytest.raises(UsageError, match="found none"):
        find_pdfs([tmp_path / "gone.pdf"])
    (tmp_path / "scans").mkdir()
    (tmp_path / "torn.pdf").rename(tmp_path / "scans/TORN.PDF")
    (tmp_path / "notes.txt").write_text("no PDF either")
    every = [tmp_path / "blank.pdf", tmp_path / "scans/TORN.PDF"]
    assert find_pdfs([tmp_path, tmp_path / "blank.pdf"]) == every
    assert find_pdfs([tmp_path, tmp_path / "scans"]) == every
