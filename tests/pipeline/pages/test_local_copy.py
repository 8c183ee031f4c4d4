"""A document that cannot be fetched fails alone; a store that does not answer, or a full disk, ends the run instead."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from pipeline.errors import EngineError, PageError
from pipeline.pages import local_copy
from pipeline.pages.documents import list_documents
from pipeline.pages.local_copy import LocalCopy
from pipeline.records import Document
from tests.support.s3_server import S3Server, few_tries, s3_bucket


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with s3_bucket(monkeypatch) as server:
        few_tries(monkeypatch)
        S3FileSystem().pipe_file("bucket/in/a.pdf", b"%PDF")
        yield server


@pytest.fixture
def document(s3: S3Server) -> Document:
    return list_documents(["s3://bucket/in"])[0]


def test_a_document_is_copied_once_and_the_copy_goes(document: Document, tmp_path: Path, s3: S3Server) -> None:
    copy = LocalCopy()
    assert copy.of(document).read_bytes() == b"%PDF"
    s3.share = 1.0
    assert copy.of(document).read_bytes() == b"%PDF"
    copy.drop()
    assert not list(tmp_path.iterdir())


def test_a_store_that_does_not_answer_is_no_fault_of_the_document(
    document: Document, tmp_path: Path, s3: S3Server
) -> None:
    s3.share = 1.0
    with pytest.raises(EngineError, match=r"^s3://bucket/in/a.pdf cannot be fetched: .*once its store answers, run"):
        LocalCopy().of(document)
    s3.share = 0.0
    assert LocalCopy().of(document).read_bytes() == b"%PDF"


def test_a_document_that_its_store_cannot_give_fails_alone(document: Document, tmp_path: Path, s3: S3Server) -> None:
    s3.share, s3.only, s3.statuses = 1.0, "GET /bucket/in/a.pdf", ("500 Internal Server Error",)
    with pytest.raises(PageError, match="DocumentUnreadable .*We encountered an internal error"):
        LocalCopy().of(document)
    s3.statuses = ("403 Forbidden",)
    with pytest.raises(PageError, match="DocumentUnreadable .*Access Denied"):
        LocalCopy().of(document)
    with pytest.raises(PageError, match="DocumentNotFound"):
        LocalCopy().of(replace(document, uri="s3://bucket/in/b.pdf"))
    assert not list(tmp_path.iterdir())


def test_a_document_that_has_changed_since_it_was_listed_fails_alone(document: Document, tmp_path: Path) -> None:
    store = S3FileSystem()
    for now in (b"%PDG", b"%PDF-1.7"):  # of the same size, and of another
        store.pipe_file("bucket/in/a.pdf", now)
        with pytest.raises(PageError, match="DocumentChanged .*run the same command again"):
            LocalCopy().of(document)
    assert not list(tmp_path.iterdir())
    assert LocalCopy().of(list_documents(["s3://bucket/in"])[0]).read_bytes() == b"%PDF-1.7"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_fault_of_the_document(
    document: Document, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(uri: str, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(local_copy, "_fetch", full)
    with pytest.raises(EngineError, match=rf"cannot be copied to {tmp_path}: .*set TMPDIR, then run the same command"):
        LocalCopy().of(document)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(EngineError, match="set TMPDIR"):
        LocalCopy().of(document)
