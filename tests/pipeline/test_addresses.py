from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pytest

from pipeline.addresses import open_remote, remote_uri
from pipeline.errors import PageError, UsageError
from pipeline.file_names import input_of, without_password
from pipeline.output.folder import Folder
from pipeline.pages.documents import find_documents
from pipeline.pages.renderer import RenderChild
from tests.support.hostile import text_pdf
from tests.support.hosts import PASSWORD, HostFileSystem

GIVEN = f"toyhost://me:{PASSWORD}@nas/in"
NAMES = ("a.pdf", "x/b#c?d.pdf", "x/50%41::.pdf")


@pytest.fixture
def host() -> Iterator[HostFileSystem]:
    fsspec.register_implementation("toyhost", HostFileSystem, clobber=True)
    fs = HostFileSystem("nas", "me", PASSWORD)
    for name in NAMES:
        fs.pipe_file(f"/in/{name}", text_pdf(1))
    yield fs
    fs.store.clear()


def test_a_host_stays_in_the_address_of_a_document_and_its_password_is_not_told(host: HostFileSystem) -> None:
    documents = find_documents([GIVEN]).documents
    assert [document.path for document in documents] == sorted(NAMES)
    assert {document.source for document in documents} == {"toyhost://me@nas/in"}
    with RenderChild() as child:
        assert [child.count_pages(document) for document in documents] == [1, 1, 1]
    assert [input_of(document) for document in documents] == [
        "toyhost://me@nas/in/a.pdf",
        "toyhost://me@nas/in/./x/50%41::.pdf",
        "toyhost://me@nas/in/./x/b#c?d.pdf",
    ]
    other = {
        document.document_id
        for document in find_documents([f"{GIVEN}/", f"toyhost://me:{PASSWORD}@nas/in/x/*"]).documents
    }
    assert other >= {document.document_id for document in documents}
    host.rm_file("/in/a.pdf")
    with RenderChild() as child, pytest.raises(PageError) as gone:
        child.count_pages(documents[0])
    assert PASSWORD not in str(gone.value)


def test_the_recorded_command_finds_the_document_with_a_password_from_the_settings_of_fsspec(
    host: HostFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fsspec.config.conf, "toyhost", {"password": PASSWORD})
    for document in find_documents([GIVEN]).documents:
        (again,) = find_documents([input_of(document)]).documents
        assert (again.path, again.document_id) == (document.path, document.document_id)


@pytest.mark.usefixtures("host")
def test_a_message_does_not_tell_a_password() -> None:
    for given in ("toyhost://me:hunter3@nas/in", f"toyhost://me:{PASSWORD}@nas/nothing"):
        with pytest.raises(UsageError) as refused:
            find_documents([given])
        assert str(refused.value).startswith("--input toyhost://me@nas/")
    assert PASSWORD not in Folder(GIVEN).uri


def test_only_passwords_are_left_out_of_an_address() -> None:
    for address in (
        "/a://b:c@d",
        "s3://bucket/a:b@c",
        "github://me:repo@main/x",
        "memory://a",
        "abfs://box@me/x",
        "a:b@c",
    ):
        assert without_password(address) == address
    assert without_password("sftp://me:p@s:s@host:22/x@y") == "sftp://me@host:22/x@y"
    assert without_password("https://:secret@host/x") == "https://@host/x"


def test_an_address_without_a_host_is_that_of_the_file_system() -> None:
    fs, root = open_remote("memory://box/x")
    assert remote_uri("memory://box/x", fs, f"{root}/a.pdf") == "memory:///box/x/a.pdf"
