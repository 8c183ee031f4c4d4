from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from pathlib import Path

import fsspec
import pytest

from pipeline.file_names import input_of, local_input, local_path, local_uri, printable, readable
from pipeline.pages.documents import find_documents
from pipeline.pages.renderer import RenderChild
from pipeline.records import Document
from tests.support.hostile import text_pdf
from tests.support.odd_names import ODD_NAMES


@pytest.fixture
def content() -> bytes:
    return text_pdf(1)


@pytest.fixture
def odd(tmp_path: Path, content: bytes) -> list[Document]:
    """Documents with odd names, in a folder with one."""
    root = tmp_path / "in::%20#"
    for name in ODD_NAMES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    listing = find_documents([str(root)])
    assert (listing.failures, listing.ignored) == ({}, {})
    return listing.documents


def test_names_become_text_that_a_table_can_hold() -> None:
    latin = os.fsdecode(b"M\xfcller.pdf")
    assert readable(latin) == "M\\xfcller.pdf"
    assert readable("Müller \ud800.pdf") == "Müller \\ud800.pdf"
    assert printable("a\nb\x1b[31m\udcfcü") == "a\\nb\\x1b[31m\\xfcü"
    assert local_uri(f"/a b/%41{latin}") == "file:///a%20b/%2541M%FCller.pdf"
    for path in ("/a::b#?%41.pdf", f"/a b/%41{latin}"):
        assert local_path(local_uri(path)) == path
    assert local_path("memory:///a.pdf") is None


def test_a_listed_path_is_never_parsed_again(odd: list[Document], content: bytes) -> None:
    assert sorted(document.path for document in odd) == sorted(map(readable, ODD_NAMES))
    for document in odd:
        "".join((document.document_id, document.path, document.uri, document.source)).encode()
    with RenderChild() as child:
        assert [child.count_pages(document) for document in odd] == [1] * len(ODD_NAMES)
        assert {child.sha256(document) for document in odd} == {hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_an_input_finds_one_document_again_from_a_shell(odd: list[Document], shell: str, tmp_path: Path) -> None:
    said = "".join(f"docpipe --input {shlex.quote(input_of(document))} --output reproduced\n" for document in odd)
    fake = "docpipe() { printf '%s\\0' \"$2\"; }\n"
    heard = subprocess.run([shell, "-c", fake + said], check=True, capture_output=True, cwd=tmp_path).stdout
    given = os.fsdecode(heard).split("\0")[:-1]
    assert len(given) == len(odd)
    for one, document in zip(given, odd, strict=True):
        (found,) = find_documents([one]).documents
        assert (found.path, found.uri, found.document_id) == (document.path, document.uri, document.document_id)


def test_an_input_says_where_the_path_below_it_begins() -> None:
    def given(path: str, uri: str) -> str:
        return input_of(Document("id", path, uri, 1, ""))

    assert given("a.pdf", "/in/a.pdf") == "/in/a.pdf"
    assert given("x/a.pdf", "/in/x/a.pdf") == "/in/./x/a.pdf"
    assert given("x/a.pdf/inside.pdf", "/in/x/a.pdf") == "/in/./x/a.pdf"
    assert given("x/", "/in/x") == "/in/x"
    assert given("x\\xfc/a.pdf", "file:///in/x%FC/a.pdf") == "file:///in/./x%FC/a.pdf"
    assert given("bucket/x/a.pdf", "s3://bucket/x/a.pdf") == "s3://./bucket/x/a.pdf"


def test_a_remote_name_is_found_again() -> None:
    memory = fsspec.filesystem("memory")
    names = ["Vertrag::v2.pdf", "x/a#b.pdf", "x/a?b.pdf", "x/50%41.pdf", "x/s[1].pdf"]
    for name in names:
        memory.pipe(f"/odd/{name}", text_pdf(1))
    documents = find_documents(["memory://odd"]).documents
    assert [document.path for document in documents] == sorted(names)
    with RenderChild() as child:
        assert [child.count_pages(document) for document in documents] == [1] * len(names)
    for document in documents:
        (again,) = find_documents([input_of(document)]).documents
        assert (again.path, again.uri) == (document.path, document.uri)


def test_a_file_uri_may_be_percent_encoded(tmp_path: Path) -> None:
    (tmp_path / "a b.pdf").write_bytes(b"x")
    (tmp_path / "c%20d.pdf").write_bytes(b"x")
    (tmp_path / "c d.pdf").write_bytes(b"x")
    found = [find_documents([f"file://{tmp_path}/{name}"]).documents[0].path for name in ("a%20b.pdf", "c%20d.pdf")]
    assert found == ["a b.pdf", "c%20d.pdf"]


@pytest.mark.parametrize(
    ("given", "local"),
    [
        ("new::#?%41/", "new::#?%41/"),
        ("memory::file", "memory::file"),
        ("odd://new/", "odd://new/"),
        ("no such://new", None),
        ("memory://new", None),
        ("s3://bucket/new", None),
        ("zip://a.pdf::memory://b.zip", None),
        ("memory://there", "memory://there"),
        ("odd://new/deeper", None),
    ],
)
def test_a_name_is_local_if_it_or_its_folder_exists(
    given: str, local: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "memory:" / "there").mkdir(parents=True)
    (tmp_path / "odd:").mkdir()
    assert local_input(given) == local
