"""Questions about the lines of real pages point at the characters that answer them."""

from __future__ import annotations

from pathlib import Path

import pymupdf
import pytest
import torch

from pipeline.nano.training import real_questions, recipe, vocabulary
from pipeline.nano.training.pages import Asking
from pipeline.nano.training.real_questions import real_page_batch
from pipeline.nano.training.recipe import Phase
from pipeline.nano.training.targets import CHARSET, IGNORE
from pipeline.nano.training.task import NanoTask
from pipeline.nano.training.tower import raster_order

ASKING = Asking(8, 2, 288)
SIZE = 336, 896
ROWS, COLUMNS = SIZE[0] // 28, SIZE[1] // 28


@pytest.fixture
def pdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    words = [f"{first}{second}{third}" for first in "bdfgklm" for second in "aeiou" for third in ("ra", "ton", "k")]
    path = tmp_path / "lines.pdf"
    with pymupdf.open() as document:
        for number in range(3):
            page = document.new_page(width=520, height=520)
            for line in range(30):
                text = " ".join(words[(7 * number + 5 * line + i * i) % len(words)] for i in range(5 + line % 6))
                page.insert_text((20, 24 + 16 * line), text, fontsize=10)
        document.save(path)
    monkeypatch.setattr(real_questions, "real_pdfs", lambda folders: (path,))
    return path


def spell(ids: torch.Tensor) -> str:
    return bytes(int(i) for i in ids if int(i) < 256).decode()


@pytest.mark.parametrize("paper", [True, False])
@pytest.mark.usefixtures("pdf")
def test_the_pointed_cells_spell_what_stands_behind_the_words(paper: bool) -> None:
    batch = real_page_batch(3, 4, *SIZE, ASKING, paper)
    asked = batch.questions
    cells = batch.cell[:, raster_order(ROWS, COLUMNS)]
    spelled = asking = 0
    for page, token in ((asked.pointer >= 0) & (asked.slot >= 0)).nonzero().tolist():
        character = int(cells[page, int(asked.pointer[page, token]), int(asked.slot[page, token])])
        if character >= 0:
            spelled += 1
            assert vocabulary.text_ids(CHARSET[character - 1]) == [int(asked.ids[page, token + 1])]
            asking += int(asked.targets[page, token]) == IGNORE
    assert spelled > 60
    assert asking > 30  # characters of the words in the questions
    assert int((asked.label >= 0).sum()) > 8
    assert (asked.tags == IGNORE).all()


def test_what_is_asked_is_the_rest_of_a_printed_line(pdf: Path) -> None:
    with pymupdf.open(pdf) as document:
        lines = [line for page in document for line in page.get_text().splitlines()]
    asked = real_page_batch(5, 4, *SIZE, Asking(8, 2, 288, spelled=1.0), True).questions
    answered = absent = 0
    for page in range(4):
        for number in range(int(asked.number[page].max()) + 1):
            question, _, answer = spell(asked.ids[page][asked.number[page] == number]).replace('"', "'").rpartition("'")
            words = question.partition("'")[2]
            answer = answer.removeprefix("?")
            if answer == "n/a":
                absent += 1
            else:
                answered += 1
                assert any(line.endswith(f"{words} {answer}") for line in lines)
    assert answered > 10
    assert absent > 2


@pytest.mark.usefixtures("pdf")
def test_same_seed_same_batch() -> None:
    one, other = (real_page_batch(9, 2, *SIZE, ASKING, False) for _ in range(2))
    assert torch.equal(one.pixels, other.pixels)
    assert torch.equal(one.questions.ids, other.questions.ids)


def test_pages_without_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pymupdf.open() as document:
        document.new_page(width=520, height=520)
        document.save(tmp_path / "empty.pdf")
    monkeypatch.setattr(real_questions, "real_pdfs", lambda folders: (tmp_path / "empty.pdf",))
    monkeypatch.setattr(real_questions, "TRIES", 3)
    with pytest.raises(ValueError, match="too few lines"):
        real_page_batch(9, 2, *SIZE, ASKING, False)


@pytest.mark.usefixtures("pdf")
def test_a_step_on_lines_has_a_finite_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipe.LINES, "lines", recipe.Lines(1, *SIZE, ASKING))
    loss, figures = NanoTask(0, torch.device("cpu"), (Phase(1, {"lines": 1.0}),)).loss(0, 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert set(figures) == {"lines_answer", "lines_exact", "lines_tokens", "lines_pointed", "lines_read"}
