from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.pages.apart import check_apart, check_no_document


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in" / "2024").mkdir(parents=True)
    (tmp_path / "in" / "a.pdf").write_bytes(b"")
    (tmp_path / "in[1]").mkdir()
    (tmp_path / "q::x#?%41" / "y").mkdir(parents=True)
    (tmp_path / "memory:").mkdir()
    (tmp_path / "z:").mkdir()
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "deep").symlink_to("in/2024")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("in", "in"),
        ("in", "in/"),
        ("in", "./in/../in"),
        ("in", "in/answers"),
        ("in", "in/not/yet/there"),
        ("in", "link"),
        ("link", "in/x"),
        ("in", "deep"),
        ("in", "deep/x"),
        ("in", "~/in/x"),
        ("in", "file://{here}/in/x"),
        ("file://{here}/in", "in/x"),
        ("{here}/in", "in/x"),
        (".", "out"),
        ("/", "out"),
        ("in[1]", "in[1]/x"),
        ("in[1]/**", "in[1]/x/y"),
        ("q::x#?%41", "q::x#?%41"),
        ("q::x#?%41", "q::x#?%41/new::#?%"),
        ("q::x#?%41/y/..", "file://{here}/q::x#?%2541/new"),
        ("q::x#?%41/**", "q::x#?%41/y/new"),
        ("q::*/*/*.pdf", "q::x#?%41/y"),
        ("new::#?%/parts", "new::#?%"),
        ("z://", "z://x"),
        ("in/**", "in/out"),
        ("in/**/*.pdf", "in/out/x"),
        ("in/*/*.pdf", "in/out"),
        ("i*/2024", "in"),
        ("s3://bucket/in", "s3://bucket/in"),
        ("s3://bucket/in", "s3a://bucket/in/x"),
        ("s3://bucket", "s3://bucket/x"),
        ("memory://in", "memory:///in/x"),
        ("out/answers", "out"),
        ("out/parts/2024", "out"),
        ("out/documents/*.pdf", "out"),
        ("file://{here}/out/pages/", "out"),
    ],
)
def test_point_19_an_output_that_is_or_is_inside_an_input_is_refused(folders: Path, given: str, output: str) -> None:
    if "s3" in given:
        pytest.importorskip("s3fs")
    given, output = given.format(here=folders), output.format(here=folders)
    with pytest.raises(UsageError, match=r"choose (a folder outside of the input|another --output)") as refused:
        check_apart(["elsewhere", given], output)
    assert output.rstrip("/") in str(refused.value)
    assert f"--input {given}" in str(refused.value)


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("in", "out"),
        ("in", "input"),
        ("in", "in2/in"),
        ("in/2024", "in/out"),
        ("in/a.pdf", "in/out"),
        ("in/*.pdf", "in/out"),
        ("in/*.pdf", "in/out/x"),
        ("in/2*/*.pdf", "in/out"),
        ("samples/pdfs", "samples"),
        ("in", "memory://in/x"),
        ("memory://in", "in/x"),
        ("nosuch://in", "in/x"),
        ("in", "nosuch://in/x"),
        ("memory:", "memory://x"),
        ("q::x#?%41", "q::x"),
        ("q::x#?%41", "q::x#?A/new"),
    ],
)
def test_what_stays_apart_is_taken(given: str, output: str) -> None:
    check_apart([given], output)


@pytest.mark.parametrize("to", ["in/a.pdf", "in/b.TIFF", "linked", "linked.pdf"])
def test_what_may_be_a_document_is_never_replaced(folders: Path, to: str) -> None:
    for name in ("in/a.pdf", "in/b.TIFF", "in/data"):
        (folders / name).touch()
    (folders / "linked").symlink_to("in/a.pdf")
    (folders / "linked.pdf").symlink_to("in/data")
    with pytest.raises(UsageError, match=f"--to {to} may be a document, which would be replaced; choose another name"):
        check_no_document(to)


@pytest.mark.parametrize("to", ["in/new.pdf", "in/data.csv", "nowhere/a.pdf"])
def test_what_is_new_or_no_document_is_written(folders: Path, to: str) -> None:
    (folders / "in/data.csv").touch()
    check_no_document(to)
