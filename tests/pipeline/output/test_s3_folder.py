"""A folder on S3: calls that fail are tried again by the library, and what stays is told in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from s3fs import S3FileSystem

from pipeline.errors import EngineError, OutputError, QuestionsError, UsageError
from pipeline.output.folder import Folder
from pipeline.output.lock import NAME, OutputLock
from pipeline.pages.documents import find_documents
from pipeline.questions.file import load_questions
from tests.support.s3_server import CREDENTIALS, S3Server, few_tries, s3_bucket, use_server


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_bucket(monkeypatch) as server:
        yield server


def test_what_is_written_is_read_though_every_third_call_fails(s3: S3Server) -> None:
    folder = Folder("s3://bucket/out")
    s3.share = 1 / 3
    for number in range(40):
        folder.write(f"parts/{number:02}", bytes([number]) * 1000)
    assert folder.names("parts", "") == [f"parts/{number:02}" for number in range(40)]
    assert [folder.read(f"parts/{number:02}") for number in range(40)] == [bytes([n]) * 1000 for n in range(40)]
    with folder.open("parts/07") as file:
        file.seek(990)
        assert file.read() == bytes([7]) * 10
    folder.delete("parts/07")
    assert folder.read("parts/07") is None
    assert set(s3.refused) == {"503 Slow Down", "500 Internal Server Error"}
    assert s3.refused.total() > 25


def test_only_one_of_two_creates_a_file(s3: S3Server) -> None:
    first, second = Folder("s3://bucket/out"), Folder("s3://bucket/out")
    assert first.create("a", b"1")
    assert not second.create("a", b"2")
    second.fs.exists = lambda _: False  # it looked before the first one wrote
    assert not second.create("a", b"2")
    assert first.read("a") == b"1"
    del second.fs.exists


def test_a_lock_is_taken_though_the_answer_to_its_creation_was_lost(s3: S3Server) -> None:
    """The second try finds the file of the first, which is its own."""
    s3.share, s3.done_anyway, s3.only = 1.0, True, rf"PUT /bucket/out/{NAME}"
    original = s3.refuses
    s3.refuses = lambda call: None if s3.refused else original(call)  # type: ignore[method-assign]
    with OutputLock(Folder("s3://bucket/out")):
        assert s3.refused.total() == 1
        with (
            pytest.raises(UsageError, match="in use by process"),
            OutputLock(Folder("s3://bucket/out")),
        ):
            pytest.fail("two runs hold the folder")
    assert Folder("s3://bucket/out").read(NAME) is None


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        ("503 Slow Down", EngineError, "Please reduce your request rate"),
        ("500 Internal Server Error", EngineError, "We encountered an internal error"),
        ("403 Forbidden", OutputError, "Access Denied"),
    ],
)
def test_a_store_that_keeps_refusing(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, status: str, kind: type[Exception], said: str
) -> None:
    few_tries(monkeypatch)
    folder = Folder("s3://bucket/out")
    s3.share, s3.statuses = 1.0, (status,)
    with pytest.raises(kind, match=rf"^cannot write s3://bucket/out/a: .*{said}.*; check access .*run the same"):
        folder.write("a", b"")
    assert s3.refused.total() == (1 if kind is OutputError else 2)


def test_calls_are_tried_ten_times_unless_fsspec_is_told_otherwise(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder("s3://bucket/out")
    s3.share, s3.statuses = 1.0, ("500 Internal Server Error",)
    with pytest.raises(EngineError):
        folder.write("a", b"")
    assert s3.refused.total() == 10


def test_a_bucket_that_is_missing_and_an_address_without_one(s3: S3Server) -> None:
    with pytest.raises(OutputError, match="^cannot write s3://none/out/a: The specified bucket does not exist"):
        Folder("s3://none/out").write("a", b"")
    with pytest.raises(OutputError, match=r"^cannot write s3:/a: \[Errno 22\] Parameter validation failed"):
        Folder("s3://").write("a", b"")


def test_without_credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    S3FileSystem.clear_instance_cache()
    with pytest.raises(OutputError, match=r"^cannot write s3://bucket/out/a: \[Errno 13\] Unable to locate cred"):
        Folder("s3://bucket/out").write("a", b"")
    with pytest.raises(QuestionsError, match="Unable to locate credentials"):
        load_questions("s3://bucket/q.yaml")
    with pytest.raises(UsageError, match="^--input s3://bucket/in: .*(Unable to locate credentials|no such file)"):
        find_documents(["s3://bucket/in"])


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    use_server(S3Server(url="http://127.0.0.1:9"), monkeypatch)
    few_tries(monkeypatch)
    with pytest.raises(EngineError, match="^cannot write s3://bucket/out/a: .*Could not connect"):
        Folder("s3://bucket/out").write("a", b"")
