"""Of every question that is asked of several pages one page is read, whatever ends the run in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.answering.commits import COMMIT_SECONDS
from pipeline.answering.held_back import may_skip
from pipeline.answering.open_page import ModelAnswer, Skipped
from pipeline.output.attempts import Markers
from pipeline.records import Unit
from tests.support.helpers import FakePageAnswerer, page_error, questions
from tests.support.one_document import DeathError, OneDocument, Paper

PAGES, BROKEN, BLANK, BELOW = 7, 3, 1, 0.5
ASKED = questions("id: found, text: x", "id: nowhere, text: x", "id: twice, text: x", "id: single, text: x, pages: '2'")
PRESENCE = {
    "found": {5: 0.9},
    "nowhere": {4: 0.4, 6: 0.4},  # the lower page of the two best
    "twice": {2: 0.6, 7: 0.8},
    "single": {},
}
PAPER = Paper(PAGES, BROKEN, BLANK)


class Skips(FakePageAnswerer):
    """Skips by a table; each page takes longer than a commit waits; ``on_page`` is told number and whether again."""

    def __init__(self, on_page: Callable[[int, bool], None] = lambda page, again: None) -> None:
        super().__init__()
        self.skipping = BELOW  # type: ignore[assignment]
        self.on_page = on_page
        self.now = 0.0
        self.asked: list[tuple[int, str]] = []

    def prepare(self, page: Any, asks: Any, words: object = None, may: Sequence[str] = ()) -> Any:
        return page, [(ask, ask.question_id in may) for ask in asks]

    def _answer_page(self, page: Any, asks: Any) -> Any:
        number = int(page[0, 0, 0])
        self.now += COMMIT_SECONDS
        self.on_page(number, not any(may for _, may in asks))
        found: list[ModelAnswer | Skipped] = []
        for ask, may in asks:
            presence = PRESENCE[ask.question_id].get(number, 0.1)
            if may and presence < BELOW:
                found.append(Skipped(presence))
                continue
            self.asked.append((number, ask.question_id))
            found += super()._answer_page(page, [ask])
        return found


def statuses(rows: Sequence[dict[str, Any]], question: str) -> list[tuple[str, float | None]]:
    return [(row["status"][:4], row["presence"]) for row in rows if row["question_id"] == question]


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    work = OneDocument(tmp_path / "uninterrupted", PAPER, ASKED)
    work.run(page_answerer := Skips())
    assert sorted(page_answerer.asked) == [(2, "single"), (2, "twice"), (4, "nowhere"), (5, "found"), (7, "twice")]
    return work.tables()


def test_every_page_has_its_row_and_one_page_of_every_question_is_read(
    expected: dict[str, list[dict[str, Any]]],
) -> None:
    rows = expected["answers"]
    blank, broken, skipped = ("not_", None), ("fail", None), ("skip", 0.1)
    assert statuses(rows, "found") == [blank, skipped, broken, skipped, ("answ", None), skipped, skipped]
    assert statuses(rows, "nowhere") == [blank, skipped, broken, ("answ", 0.4), skipped, ("skip", 0.4), skipped]
    assert statuses(rows, "twice") == [blank, ("answ", None), broken, skipped, skipped, skipped, ("answ", None)]
    assert statuses(rows, "single") == [("answ", None)]
    empty = [row for row in rows if row["status"] == "skipped"]
    assert {row[name] for row in empty for name in ("answer", "confidence_raw", "finish_reason", "retention")} == {None}
    assert [row["pages_asked"] for row in expected["documents"]] == [1, 4, 3, 3]
    assert [row["page"] for row in expected["pages"]] == [1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DeathError])
@pytest.mark.parametrize("again", [False, True])
def test_resumed_equals_uninterrupted_after_any_page(
    tmp_path: Path, expected: dict[str, list[dict[str, Any]]], error: type[BaseException], again: bool
) -> None:
    for page in (4,) if again else (2, 4, 5, 6, 7):
        read: list[int] = []

        def ends(number: int, second: bool, page: int = page, read: list[int] = read) -> None:
            if (number, second) == (page, again):
                raise error
            read.append(number)

        work = OneDocument(tmp_path / str(page), PAPER, ASKED)
        with pytest.raises(error):
            work.run(Skips(ends))
        committed = {unit for held in work.store.parts().values() for unit in held.pages}
        nowhere = next(unit.unit_id for unit in work.units if unit.question_id == "nowhere")
        assert nowhere not in committed  # or the rest of it could not know that nothing was read
        if error is KeyboardInterrupt:
            Markers(work.folder).clear()  # as the run does, which stopped on purpose
        resumed: list[int] = []
        work.run(Skips(lambda number, _, resumed=resumed: resumed.append(number)))  # type: ignore[misc]
        assert work.tables() == expected
        assert work.folder.names("scored", ".json") == []
        if error is KeyboardInterrupt:  # only the best page of "nowhere" is scored, and later read
            assert sorted(read + resumed) == [2, 4, 4, 5, 6, 7]


@pytest.mark.parametrize("lost", [b"", b"{}", b'{"presences": {"u": {"x": 1}}}'])
def test_where_nothing_is_known_of_the_pages_they_are_scored_again(
    tmp_path: Path, expected: dict[str, list[dict[str, Any]]], lost: bytes
) -> None:
    def ends(number: int, second: bool) -> None:
        if number == 6:
            raise KeyboardInterrupt

    work = OneDocument(tmp_path / "out", PAPER, ASKED)
    with pytest.raises(KeyboardInterrupt):
        work.run(Skips(ends))
    Markers(work.folder).clear()
    (name,) = work.folder.names("scored", ".json")
    work.folder.write(name, lost)
    work.run(Skips())
    assert work.tables() == expected


def test_where_the_best_page_fails_the_next_best_is_read(tmp_path: Path) -> None:
    def fails(number: int, second: bool) -> None:
        if (number, second) == (4, True):
            raise page_error()

    work = OneDocument(tmp_path / "out", PAPER, ASKED)
    work.run(Skips(fails))
    found = dict(zip((1, 2, 3, 4, 5, 6, 7), statuses(work.tables()["answers"], "nowhere"), strict=True))
    assert (found[4], found[6], found[5]) == (("fail", 0.4), ("answ", 0.4), ("skip", 0.1))


def test_pages_are_left_out_of_questions_of_several_pages_only() -> None:
    assert [may_skip(Unit("u", "d", "q", pages)) for pages in ((), (3,), (3, 4))] == [False, False, True]
    assert may_skip(Unit("u", "d", "q", (3,), whole=False))  # which had more
