"""The same small job on many documents: how many children do it, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.run.children import for_each_document
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild
from pipeline.records import Document


def test_work_on_documents_stops_at_the_first_error(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.pdf").write_bytes(b"%PDF-")
    documents = list_documents([str(tmp_path)])
    results: dict[str, int] = {}
    done: list[int] = []

    def fail(child: RenderChild, document: Document) -> int:
        if document.path == "04.pdf":
            raise ZeroDivisionError
        return len(document.path)

    with pytest.raises(ZeroDivisionError):
        for_each_document(documents, fail, results, lambda: done.append(1))
    assert len(done) == len(results) < 40


def test_a_few_documents_take_one_child_and_slow_ones_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.pdf").write_bytes(b"%PDF-")
    documents = list_documents([str(tmp_path)])

    def children(do: Callable[[], object]) -> set[int]:
        found: dict[str, int] = {}
        for_each_document(documents, lambda child, _: (do(), id(child))[1], found, lambda: None)
        assert found.keys() == {document.document_id for document in documents}
        return set(found.values())

    monkeypatch.setattr("jobs.run.children._APART_S", 60.0)
    assert len(children(lambda: None)) == 1
    monkeypatch.setattr("jobs.run.children._APART_S", 0.0)
    monkeypatch.setattr("jobs.run.children._FIRST_S", 0.0)  # nor is the first document waited for, which may hang
    assert len(children(threading.Barrier(4).wait)) == 4
