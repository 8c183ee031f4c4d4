"""Entries that cannot be read: each costs one failed row, or is counted as ignored, and the listing goes on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import UsageError
from pipeline.pages.documents import Listing, find_documents


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.pdf").write_bytes(b"x")
    return tmp_path / "in"


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Forbid a call for one path; tests may run as root, who may do everything."""

    def put(call: str, path: Path, number: int = 13) -> None:
        real = getattr(os, call)

        def guarded(given: Any, *rest: Any, **options: Any) -> Any:
            if not isinstance(given, int) and os.fspath(given) == str(path):
                raise OSError(number, os.strerror(number), given)
            return real(given, *rest, **options)

        monkeypatch.setattr(os, call, guarded)

    return put


def told(listing: Listing) -> dict[str, str | None]:
    """The reason of each document, by path; ``None`` for a good one."""
    reasons = {key: f"{failure.error_type}: {failure.error_message}" for key, failure in listing.failures.items()}
    return {document.path: reasons.get(document.document_id) for document in listing.documents}


def test_a_bad_link_or_name_costs_one_row(root: Path) -> None:
    for name, target in {"self": "self.pdf", "long": "x" * 300, "gone": "no.pdf", "through": "good.pdf/x"}.items():
        (root / f"{name}.pdf").symlink_to(target)
    (root / os.fsdecode(b"M\xfcller.pdf")).write_bytes(b"x")
    link = "it is a link to"
    assert told(find_documents([str(root)])) == {
        "good.pdf": None,
        "M\\xfcller.pdf": None,
        "gone.pdf": f"DocumentNotFound: {link} no.pdf, which cannot be followed: No such file or directory",
        "long.pdf": f"DocumentUnreadable: {link} {'x' * 100}..., which cannot be followed: File name too long",
        "self.pdf": f"DocumentUnreadable: {link} self.pdf, which cannot be followed: Too many levels of symbolic links",
        "through.pdf": f"DocumentUnreadable: {link} good.pdf/x, which cannot be followed: Not a directory",
    }
    assert told(find_documents([str(root / "self.pdf")])).keys() == {"self.pdf"}
    assert told(find_documents([f"{root}/s*.pdf"])).keys() == {"self.pdf"}


def test_what_is_no_document_is_counted_by_kind(root: Path) -> None:
    os.mkfifo(root / "pipe.pdf")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "s.pdf"))
    (root / "folder").symlink_to("not-mounted")
    (root / ".hidden.pdf").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / ".git" / "a.pdf").write_bytes(b"x")
    for name in ("a.DOCX", "b.docx", "noext", "v1.2 final", "x.123", os.fsdecode(b"y.\xff")):
        (root / name).write_bytes(b"x")
    listing = find_documents([str(root), str(root)])
    assert told(listing) == {"good.pdf": None}
    assert listing.ignored == {
        ".docx": 2,
        "broken link": 1,
        "hidden": 2,
        "special file": 2,
        "with an unusual suffix": 3,
        "without a suffix": 1,
    }
    assert find_documents([str(root), str(root / "noext")]).ignored["hidden"] == 2
    assert "without a suffix" not in find_documents([str(root), str(root / "noext")]).ignored
    (root / "good.pdf").unlink()
    with pytest.raises(UsageError, match=r"no document in .* \(ignored: 3 with an unusual suffix, 2 .docx, 2 hidden, "):
        find_documents([str(root)])


def test_a_folder_that_cannot_be_listed_is_one_row(root: Path, forbid: Callable[..., None]) -> None:
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "sub" / "a.pdf").write_bytes(b"x")
    forbid("scandir", root / "sub")
    denied = "DocumentUnreadable: it cannot be read: Permission denied"
    assert told(find_documents([str(root)])) == {"good.pdf": None, "sub/": denied}
    assert told(find_documents([f"{root}/**/*.pdf"])) == {"good.pdf": None, "sub/": denied}
    assert told(find_documents([f"{root}/*.pdf"])) == {"good.pdf": None}  # it need not look into it
    with pytest.raises(UsageError, match=r"--input .*/sub: cannot be listed: .*Permission denied"):
        find_documents([str(root / "sub")])


def test_a_file_that_may_not_even_be_looked_at_is_one_row(root: Path, forbid: Callable[..., None]) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "a.pdf").symlink_to("/nowhere/a.pdf")
    forbid("stat", root / "good.pdf")
    assert told(find_documents([str(root / "good.pdf")])) == {
        "good.pdf": "DocumentUnreadable: it cannot be read: Permission denied"
    }


def test_an_input_that_is_a_link_to_nowhere_is_refused_unless_it_is_named_like_a_document(root: Path) -> None:
    (root / "share").symlink_to("/mnt/not-mounted")
    with pytest.raises(UsageError, match=r"--input .*/share: cannot be listed: .*No such file or directory"):
        find_documents([str(root / "share")])


def test_linked_folders_are_followed_but_none_is_listed_twice(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    (other / "deep" / "a.pdf").write_bytes(b"x")
    (other / "up").symlink_to(tmp_path)
    (other / "around").symlink_to(".")
    (root / "aaa").symlink_to(root)
    (root / "first").symlink_to(other)
    (root / "second").symlink_to(other / "deep")
    (root / "self").symlink_to("self")
    listing = find_documents([str(root)])
    assert told(listing) == {"first/deep/a.pdf": None, "good.pdf": None}
    assert listing.ignored == {"broken link": 1}
    assert told(find_documents([str(root / "aaa")])) == told(listing)
    twice = find_documents([str(other), str(root), str(root / "first")])
    assert [(d.path, d.source) for d in twice.documents] == [("deep/a.pdf", str(other)), ("up/in/good.pdf", str(other))]


def test_a_remote_folder_that_cannot_be_listed_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a.pdf", "sub/b.pdf", "open/c.pdf", "open/n.txt", ".x/d.pdf"):
        memory.pipe(f"/share/{name}", b"x")
    real = MemoryFileSystem.ls

    def guarded(self: MemoryFileSystem, path: str, *rest: Any, **options: Any) -> Any:
        if path.strip("/") == "share/sub":
            raise PermissionError(13, "Permission denied")
        return real(self, path, *rest, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", guarded)
    listing = find_documents(["memory://share"])
    reason = "DocumentUnreadable: the folder cannot be listed: [Errno 13] Permission denied"
    assert told(listing) == {"a.pdf": None, "open/c.pdf": None, "sub/": reason}
    assert listing.ignored == {".txt": 1, "hidden": 1}
    with pytest.raises(UsageError, match="--input memory://share/sub: cannot be listed"):
        find_documents(["memory://share/sub"])
