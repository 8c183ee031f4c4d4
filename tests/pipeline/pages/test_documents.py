from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import UsageError
from pipeline.pages.documents import list_documents
from pipeline.records import Document


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in (
        "b.pdf",
        "a/c.PDF",
        "a/d.tiff",
        "a/b/e.JPeG",
        "f.png",
        "notes.txt",
        "pdf",
        ".hidden.pdf",
        ".git/g.pdf",
        "a/.x/h.pdf",
        "x.pdf.txt",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, ns=(10**18, 10**18 + 7))
    (root / "folder.pdf").mkdir()
    os.mkfifo(root / "pipe.pdf")
    return root


def paths(*inputs: str | Path, limit: int | None = None) -> list[str]:
    return [document.path for document in list_documents([str(given) for given in inputs], limit)]


def test_a_folder_is_read_recursively_by_suffix_and_sorted(tree: Path) -> None:
    everything = ["a/b/e.JPeG", "a/c.PDF", "a/d.tiff", "b.pdf", "f.png"]
    assert paths(tree) == everything
    assert paths(f"{tree}/") == everything
    assert paths(tree, limit=2) == everything[:2]


def test_what_is_known_of_a_document(tree: Path) -> None:
    document = list_documents([str(tree)])[3]
    uri = str(tree / "b.pdf")
    assert document == Document(document.document_id, "b.pdf", uri, 5, "1000000000000000007", str(tree))
    assert len(document.document_id) == 16
    assert pickle.loads(pickle.dumps(document)) == document


def test_the_id_follows_from_path_size_and_time_alone(tree: Path, tmp_path: Path) -> None:
    before = list_documents([str(tree / "b.pdf")])[0]
    (tree / "b.pdf").write_bytes(b"other")
    os.utime(tree / "b.pdf", ns=(5, 10**18 + 7))
    assert list_documents([str(tree / "b.pdf")]) == [before]
    tree.rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "b.pdf"
    seen = {before.document_id, list_documents([str(moved)])[0].document_id}
    os.utime(moved, ns=(5, 10**18 + 8))
    seen.add(list_documents([str(moved)])[0].document_id)
    moved.write_bytes(b"longer")
    os.utime(moved, ns=(5, 10**18 + 8))
    seen.add(list_documents([str(moved)])[0].document_id)
    moved = moved.rename(moved.with_name("c.pdf"))
    seen.add(list_documents([str(moved)])[0].document_id)
    assert len(seen) == 5


def test_point_15_an_input_in_other_words_holds_the_same_documents(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "deep").symlink_to(".")
    ids = {document.path: document.document_id for document in list_documents([str(tree)])}
    for given in ("in", "in/", "./in", "in/../in//", "~/in", f"file://{tree}", "link", "deep/in", "in/**"):
        assert {document.path: document.document_id for document in list_documents([given])} == ids
    for given in ("in/b.pdf", "link/*.pdf", "/../" + str(tree / "b.pdf")):
        (one,) = list_documents([given])
        assert one.document_id == ids["b.pdf"]
    memory = fsspec.filesystem("memory")
    memory.pipe("/words/a.pdf", b"x")
    words = ("//words", "///words/", "//words/*.pdf", "//words/a.pdf")
    found = [list_documents([f"memory:{given}"])[0].document_id for given in words]
    assert len(set(found)) == 1


def test_globs(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths(f"{tree}/*.pdf") == ["b.pdf"]
    assert paths(f"{tree}/a/*") == ["c.PDF", "d.tiff"]
    assert paths(f"{tree}/**/*.[pP][dD][fF]") == ["a/c.PDF", "b.pdf"]
    assert paths(f"{tree}/**") == paths(tree)
    monkeypatch.chdir(tree)
    assert paths("*.p?[fg]") == ["b.pdf", "f.png"]
    assert paths("a") == ["b/e.JPeG", "c.PDF", "d.tiff"]
    assert paths("../in/a/b") == ["e.JPeG"]


def test_a_name_with_wildcards_in_it_is_that_file(tree: Path) -> None:
    (tree / "s[1].pdf").write_bytes(b"x")
    (tree / "q?").mkdir()
    (tree / "q?" / "z.pdf").write_bytes(b"x")
    assert paths(tree / "s[1].pdf") == ["s[1].pdf"]
    assert paths(tree / "q?") == ["z.pdf"]


def test_a_file_named_explicitly_counts_whatever_its_name(tree: Path) -> None:
    assert paths(tree / "notes.txt", tree / ".hidden.pdf") == [".hidden.pdf", "notes.txt"]


def test_a_file_reached_twice_is_read_once(tree: Path) -> None:
    assert paths(tree, tree, tree / "b.pdf", f"{tree}/*.pdf") == paths(tree)
    assert paths(tree, tree / "a") == paths(tree)
    assert paths(tree / "a", tree) == ["b.pdf", "b/e.JPeG", "c.PDF", "d.tiff", "f.png"]


def test_a_document_says_under_which_input_it_was_found(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.pdf").write_bytes(b"longer")
    found = [d for d in list_documents([str(tree), str(other), str(tree / "a")]) if d.path in ("b.pdf", "a/c.PDF")]
    assert [(d.path, d.source) for d in found] == [
        ("a/c.PDF", str(tree)),
        ("b.pdf", str(tree)),
        ("b.pdf", str(other)),
    ]
    assert len({d.document_id for d in found}) == 3


def test_point_15_files_of_the_same_name_size_and_time_stay_apart(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.pdf").write_bytes(b"B.PDF")
    os.utime(other / "b.pdf", ns=(5, 10**18 + 7))
    alone = list_documents([str(tree)]) + list_documents([str(other)])
    found = list_documents([str(tree), str(other)])
    assert [d.path for d in found].count("b.pdf") == 2
    assert len({d.document_id for d in found}) == len(found) == 6
    assert {d.uri for d in found if d.path == "b.pdf"} == {str(tree / "b.pdf"), str(other / "b.pdf")}
    assert sorted(alone, key=lambda d: (d.path, d.uri)) == found
    assert list_documents([str(other), str(tree)]) == found


def test_links_to_files_are_followed_and_a_dangling_one_is_listed(tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "links"
    root.mkdir()
    (root / "good.pdf").symlink_to(tree / "b.pdf")
    (root / "gone.pdf").symlink_to(tree / "nothing.pdf")
    found = list_documents([str(root)])
    assert [(d.path, d.size_bytes, d.version) for d in found] == [
        ("gone.pdf", 0, ""),
        ("good.pdf", 5, "1000000000000000007"),
    ]
    assert paths(f"{root}/*.pdf") == ["gone.pdf", "good.pdf"]


def test_an_object_store() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a.pdf", "x/b.PNG", "x/.c.pdf", "x/d.txt", "x/[1]/e.gif", "x/1/f.gif"):
        memory.pipe(f"/bucket/{name}", name.encode())
    found = list_documents(["memory://bucket"])
    assert [(d.path, d.uri, d.size_bytes) for d in found] == [
        ("a.pdf", "memory:///bucket/a.pdf", 5),
        ("x/1/f.gif", "memory:///bucket/x/1/f.gif", 9),
        ("x/[1]/e.gif", "memory:///bucket/x/[1]/e.gif", 11),
        ("x/b.PNG", "memory:///bucket/x/b.PNG", 7),
    ]
    assert all(d.version for d in found)
    assert list_documents(["memory://bucket"]) == found
    assert paths("memory://bucket/x/*") == ["b.PNG"]
    assert paths("memory://bucket/x/[1]/*") == ["e.gif"]
    assert paths("memory://bucket/x/[1-9]/*") == ["1/f.gif"]
    assert paths("memory://bucket/x/d.txt") == ["d.txt"]
    assert fsspec.open(found[3].uri).open().read() == b"x/b.PNG"


def test_local_uris_are_plain_paths(tree: Path) -> None:
    given, plain = f"file://{tree}/b.pdf", f"{tree}/b.pdf"
    assert list_documents([given]) == [replace(document, source=given) for document in list_documents([plain])]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("nothing", "no such file or folder"),
        ("nosuch://a/b", "cannot be listed"),
        ("memory://nothing", "no such file or folder"),
        ("zip://*.pdf::a.zip", "chained addresses are not supported"),
        ("*.gif", "no document in"),
        ("empty", "no document in"),
        ("pipe.pdf", "expected a file or folder, found a pipe, socket or device"),
        ("", "found an empty name"),
        ("simplecache::memory://a", "chained addresses are not supported"),
        ("b.pdf/x.pdf", "no such file or folder"),
        ("empty/*/x.pdf", "no document in"),
        ("s[1]/x.pdf", "no such file or folder"),
        ("nothing/*.pdf", "no such file or folder"),
        ("a**b.pdf", "can only be an entire path component"),
        ("sftp:///a", "cannot be listed"),
    ],
)
def test_an_input_without_documents_is_a_usage_error(
    given: str, reason: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    (tree / "empty").mkdir()
    (tree / "s[1]").mkdir()
    with pytest.raises(UsageError, match=reason) as caught:
        list_documents([given])
    assert given in str(caught.value)


def test_one_missing_input_is_not_made_up_for_by_another(tree: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        list_documents([str(tree), str(tree / "nothing")])
