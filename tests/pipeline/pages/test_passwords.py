from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipeline.errors import PageError, UsageError
from pipeline.pages.passwords import Passwords, read_passwords
from pipeline.pages.renderer import RenderChild
from pipeline.records import PageImage, PixelBudget
from tests.support.hostile import as_document, encrypted_pdf

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "passwords.yaml").write_text(text)
    return str(tmp_path / "passwords.yaml")


def test_passwords_come_from_variables_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTRACTS", "s3cret")
    (tmp_path / "bank.txt").write_text("pass word\n")
    found = read_passwords(written(tmp_path, '"contracts/*.pdf": {env: CONTRACTS}\n"**": {file: bank.txt}\n'))
    assert found.of("contracts/a.pdf") == ["s3cret", "pass word"]
    assert found.of("other/a.pdf") == ["pass word"]
    assert "s3cret" not in repr(found)
    assert pickle.loads(pickle.dumps(found)) == found
    assert read_passwords(None) == Passwords()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"*.pdf": {env: NOT_SET_ANYWHERE}', "NOT_SET_ANYWHERE is not set"),
        ('"*.pdf": {file: gone.txt}', "gone.txt cannot be read"),
        ('"*.pdf": secret', "expected lines such as"),
        ('"*.pdf": {env: A, file: b}', "expected either env or file"),
        ("- a", "expected lines such as"),
        ("a: [", "expected lines such as"),
        ('"*.pdf": {env: A}\n"*.pdf": {env: B}', r"passwords.yaml:2: \*.pdf: is given twice"),
        ('x: {env: A}\n"*.pdf": {env: A, fil: b}', r"passwords.yaml:2: \*.pdf.fil: Extra inputs are not permitted"),
        ('"a**b.pdf": {env: A}', "passwords.yaml:1: a[*][*]b.pdf: .*entire path component"),
        ('"*.pdf": &x {env: A}', "anchor"),
        ('"*.pdf": {file: latin.txt}', "latin.txt is not UTF-8 text"),
        ('"*.pdf": {file: .}', "cannot be read: Is a directory"),
        ("x: " + "y" * 1_000_000, "is larger than 1 MB"),
        ("[" * 5_000, "nested deeper"),
    ],
)
def test_a_password_file_that_cannot_work_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "latin.txt").write_bytes(b"s\xe9cret")
    with pytest.raises(UsageError, match=words) as refused:
        read_passwords(written(tmp_path, text))
    assert str(refused.value).startswith("--password-file ")
    assert "s\\xe9" not in str(refused.value)


def test_variables_and_files_mean_what_they_look_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no").write_text("0")
    monkeypatch.setenv("010", "1")
    (tmp_path / "p::1.yaml").write_text("'a.pdf': {file: no}\n010.pdf: {env: 010}\n")
    assert read_passwords("p::1.yaml").by_glob == (("a.pdf", "0"), ("010.pdf", "1"))


def test_a_document_opens_with_its_password_and_with_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(encrypted_pdf("secret"))
    document = as_document(tmp_path / "a.pdf")
    with RenderChild(passwords=Passwords((("*.pdf", "wrong"), ("a*", "secret")))) as child:
        assert child.count_pages(document) == 1
        assert isinstance(next(child.render(document, [1], 72, BUDGET)), PageImage)
    for passwords, words in (
        (Passwords((("*", "wrong"),)), "none of the given ones fits"),
        (Passwords(), "--password-file"),
    ):
        with RenderChild(passwords=passwords) as child, pytest.raises(PageError, match=words) as refusal:
            child.count_pages(document)
        assert refusal.value.error_type == "EncryptedDocument"
