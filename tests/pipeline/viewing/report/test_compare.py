from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.output.schema import ANSWERS
from pipeline.viewing.report.compare import compare
from tests.support.viewed import answer


def rows(*given: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([answer(**one) for one in given], schema=ANSWERS)


def test_each_kind_of_change() -> None:
    new = rows(
        {"page": 1},
        {"page": 2, "answer": "other"},
        {"page": 3, "status": "needs_review"},
        {"page": 4},
        {"page": 5, "answer": None, "status": "failed"},
    )
    old = rows({"page": 1}, {"page": 2}, {"page": 3}, {"page": 5, "answer": "", "status": "needs_review"}, {"page": 6})
    changes = compare(new, old)
    assert changes.kinds == ["", "answer", "status", "new", "status"]
    assert changes.before == {
        1: {"status": "answered", "answer": "1903.88"},
        2: {"status": "answered", "answer": "1903.88"},
        4: {"status": "needs_review", "answer": ""},
    }
    assert [row["page"] for row in changes.gone] == [6]


def test_a_document_that_moved_or_changed_is_found_by_its_path() -> None:
    changes = compare(rows({"document_id": "new"}), rows({"document_id": "old", "answer": "2"}))
    assert (changes.kinds, changes.gone) == (["answer"], [])


def test_documents_of_the_same_path_are_told_apart_by_their_id_or_not_at_all() -> None:
    new = rows({"document_id": "1", "answer": "a"}, {"document_id": "2", "answer": "b"})
    same = compare(new, rows({"document_id": "2", "answer": "b"}, {"document_id": "1", "answer": "a"}))
    assert (same.kinds, same.gone) == (["", ""], [])
    other = compare(new, rows({"document_id": "3"}, {"document_id": "4"}))
    assert other.kinds == ["new", "new"]
    assert len(other.gone) == 2
