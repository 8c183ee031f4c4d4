from __future__ import annotations

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from s3fs import S3FileSystem

from pipeline.pages import remote_files
from pipeline.pages.entry import Entry
from pipeline.pages.remote_files import find_remote
from tests.support.s3_server import s3_bucket

NAMES = ("in/top.pdf", "in/x/a.pdf", "in/x/deep/er/b.pdf", "in/y/c.pdf", "in/y/.hidden/d.pdf", "inside/e.pdf")


def test_a_bucket_is_listed_by_the_folders_of_its_first_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in one answer; where the folders are many, all of them are."""
    asked: list[str] = []
    find = S3FileSystem.find

    def spy(self: S3FileSystem, path: str, **options: bool) -> dict[str, object]:
        asked.append(path)
        return dict(find(self, path, **options))

    with s3_bucket(monkeypatch):
        for name in NAMES:
            S3FileSystem().pipe_file(f"bucket/{name}", b"%PDF")
        S3FileSystem().call_s3("put_object", Bucket="bucket", Key="in/z/")  # as a console makes a folder
        monkeypatch.setattr(S3FileSystem, "find", spy)
        by_folder = found()
        monkeypatch.setattr(remote_files, "_MOST_FOLDERS", 2)
        at_once = found()
    assert asked == ["bucket/in/x", "bucket/in/y", "bucket/in/z", "bucket/in"]
    assert by_folder == at_once
    documents = [entry.below for entry in by_folder if entry.kind == "file" and entry.size_bytes]
    assert documents == ["top.pdf", "x/a.pdf", "x/deep/er/b.pdf", "y/c.pdf"]


def found() -> list[Entry]:
    _, _, entries = find_remote("s3://bucket/in")
    return sorted(entries, key=lambda entry: entry.path)


def test_a_glob_finds_endings_in_any_case() -> None:
    memory = MemoryFileSystem()
    for name in ("in/a.pdf", "in/SCAN.PDF", "in/B.pdf.bak"):
        memory.pipe_file(f"/cased/{name}", b"%PDF")
    _, _, entries = find_remote("memory://cased/in/*.pdf")
    assert sorted(entry.below for entry in entries) == ["SCAN.PDF", "a.pdf"]
