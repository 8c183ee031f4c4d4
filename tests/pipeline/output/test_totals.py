from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from pipeline.errors import UsageError
from pipeline.output.current import Plan
from pipeline.output.folder import Folder
from pipeline.output.totals import Totals, read_totals
from pipeline.records import OtherAnswer
from tests.support.published import published, results_for, store_at


def test_totals_are_of_the_current_rows_and_take_one_file_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(str(tmp_path))
    results = results_for([30, 30, None, 30])
    for result in results:
        store.commit(result)
        published(store)  # a file of its own
    assert len(store.folder.names("answers", ".parquet")) == len(results) > 2
    open_now, most = [0], [0]
    whole = Folder.open

    @contextmanager
    def counted(self: Folder, name: str) -> Iterator[IO[bytes]]:
        with whole(self, name) as file:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
            yield file
            open_now[0] -= 1

    monkeypatch.setattr(Folder, "open", counted)
    for asked in (results, results[:2], results[1:]):
        answers = [answer for result in asked for answer in result.answers]
        published(store, plan=Plan.of([unit for result in asked for unit in result.bundle.units], []))
        most[0] = 0
        found = read_totals(store.folder)
        shares = [answer.retention for answer in answers if answer.retention is not None]
        assert found.retention == pytest.approx(sum(shares) / len(shares))
        for name in ("visual_tokens", "kept_tokens", "kv_bytes_full", "kv_bytes_kept", "new_tokens"):
            assert getattr(found, name) == sum(getattr(answer, name) or 0 for answer in answers), name
        assert (found.asked_again, found.changed_again) == (0, 0)
        assert most == [1]
    published(store, plan=Plan.of([], []))
    assert read_totals(store.folder) == Totals(None, None, None, None, None, None)


def test_a_damaged_file_is_told_by_its_name(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    for result in results_for([3]):
        store.commit(result)
    published(store)
    (name,) = store.folder.names("answers", ".parquet")
    (tmp_path / name).write_bytes(b"no table")
    with pytest.raises(UsageError, match=f"{name} is not a file of this version of docpipe"):
        read_totals(store.folder)


def test_answers_that_were_asked_again_are_counted(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    (result,) = results_for([3])
    again = [dataclasses.replace(one, fallback="floor", pruned_answer=one.answer) for one in result.answers]
    again[1] = dataclasses.replace(again[1], pruned_answer="another")
    again[2] = result.answers[2]
    store.commit(dataclasses.replace(result, answers=tuple(again)))
    published(store)
    found = read_totals(store.folder)
    assert (found.asked_again, found.changed_again) == (len(again) - 1, 1)


def test_answers_of_several_looks_are_counted(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    (result,) = results_for([5])
    first = [OtherAnswer("another", 0.5, 1)]
    looks = [(1, ()), (1, [OtherAnswer("another", 0.5, 2)]), (2, first), (3, [*first, OtherAnswer("x", 0.5, 2)])]
    made = [
        dataclasses.replace(one, look=look, other_answers=tuple(others) or None)
        for one, (look, others) in zip(result.answers, looks, strict=False)
    ]
    made.append(dataclasses.replace(result.answers[4], look=2, other_answers=(OtherAnswer(_said(result, 4), 0.5, 1),)))
    store.commit(dataclasses.replace(result, answers=(*made, *result.answers[5:])))
    published(store)
    found = read_totals(store.folder)
    assert (found.looked_again, found.later_taken) == (4, 2)


def _said(result: Any, place: int) -> str:
    answer: str = result.answers[place].answer
    return answer


def test_what_was_skipped_is_counted_by_question_and_by_page(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    for result in results_for([3, 3]):
        skipped = [  # of the first document, page 1 has another question, and page 2 has none
            dataclasses.replace(one, status="skipped") if (one.question_id, one.page) in skips else one
            for one in result.answers
            for skips in [{("total", 1), ("total", 2)} if one.document_id == result.answers[0].document_id else set()]
        ]
        store.commit(dataclasses.replace(result, answers=tuple(skipped)))
        published(store)
    found = read_totals(store.folder)
    assert (found.skipped_questions, found.skipped_pages) == (2, 1)
    published(store, plan=Plan.of([], []))
    assert read_totals(store.folder).skipped_questions == 0
