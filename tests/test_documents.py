from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from pipeline.documents import list_documents
from pipeline.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.pdf", "a/c.PDF", "a/deep/d.tiff", "a/e.txt", ".hidden.pdf", ".git/f.pdf", "g.jpeg", "h.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "in"


def paths(*inputs: str, limit: int | None = None) -> list[str]:
    return [document.path for document in list_documents(inputs, limit)]


def test_a_folder_is_read_recursively_and_in_order(folder: Path) -> None:
    assert paths(str(folder)) == ["a/c.PDF", "a/deep/d.tiff", "b.pdf", "g.jpeg", "h.png"]
    assert paths(str(folder), limit=2) == ["a/c.PDF", "a/deep/d.tiff"]


def test_globs_and_files(folder: Path) -> None:
    assert paths(f"{folder}/*.pdf") == ["b.pdf"]
    assert paths(f"{folder}/a/**") == ["c.PDF", "deep/d.tiff"]
    assert paths(str(folder / "a" / "e.txt")) == ["e.txt"]  # named explicitly: taken whatever its name
    assert paths(f"{folder}/*.pdf", str(folder / "b.pdf"), str(folder / "g.jpeg")) == ["b.pdf", "g.jpeg"]


def test_the_id_follows_path_size_and_time_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    before = {document.path: document for document in list_documents([str(folder)])}
    os.utime(folder / "b.pdf", ns=(1, 1))
    (folder / "g.jpeg").write_bytes(b"longer than it was")
    after = {document.path: document for document in list_documents([str(folder)])}
    changed = {path for path in before if before[path].document_id != after[path].document_id}
    assert changed == {"b.pdf", "g.jpeg"}
    folder.rename(tmp_path / "moved")
    moved = {document.path: document.document_id for document in list_documents([str(tmp_path / "moved")])}
    assert moved == {path: document.document_id for path, document in after.items()}


def test_twins_in_two_inputs_are_both_read(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.pdf").write_bytes(name.encode())
        os.utime(tmp_path / name / "a.pdf", ns=(5, 5))
    found = list_documents([str(tmp_path / "one"), str(tmp_path / "two")])
    assert [document.path for document in found] == ["a.pdf", "a.pdf"]
    assert len({document.document_id for document in found}) == 2
    assert found == list_documents([str(tmp_path / "two"), str(tmp_path / "one")])


def test_uris() -> None:
    with fsspec.open("memory://bucket/in/x/y.pdf", "wb") as file:
        file.write(b"1")
    found = list_documents(["memory://bucket/in"])
    assert [(d.path, d.uri, d.size_bytes) for d in found] == [("x/y.pdf", "memory:///bucket/in/x/y.pdf", 1)]
    assert [d.path for d in list_documents(["memory://bucket/in/**/*.pdf"])] == ["x/y.pdf"]


@pytest.mark.parametrize("given", ["nowhere", "nowhere/*.pdf", "nosuch://bucket/x"])
def test_inputs_that_are_not_there(tmp_path: Path, given: str) -> None:
    with pytest.raises(UsageError, match="nowhere|nosuch"):
        list_documents([given if "://" in given else str(tmp_path / given)])


def test_a_folder_without_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UsageError, match="no document in"):
        list_documents([str(tmp_path)])
