"""What a run says of documents that are damaged, locked, blank, or hold other documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pymupdf
import pytest

from jobs.run.job import run_job
from jobs.settings import RunSettings
from pipeline.questions.file import parse_questions
from tests.support.colours import load_colours
from tests.support.hostile import encrypted_pdf, text_pdf
from tests.support.written_pdf import FONT, TREE, many_pages_pdf, page, picture_pdf, stream, words_pdf, written_pdf

QUESTIONS = parse_questions('version: 1\nquestions: [{id: a, text: "A?"}, {id: b, text: "B?"}]', "q.yaml")


def run(tmp_path: Path, base: Path, files: dict[str, bytes], **flags: Any) -> tuple[dict[str, Any], Path]:
    (tmp_path / "in").mkdir(exist_ok=True)
    for name, data in files.items():
        if not (tmp_path / "in" / name).exists():
            (tmp_path / "in" / name).write_bytes(data)
    settings = RunSettings(
        input=(str(tmp_path / "in"),),
        questions="q.yaml",
        output=str(tmp_path / "out"),
        model=str(base),
        max_visual_tokens=16,
        engine="local",
        max_failed_share=1.0,
        quiet=True,
        **flags,
    )
    return run_job(settings, QUESTIONS, load=load_colours), tmp_path / "out"


def table(out: Path, name: str, *columns: str) -> list[tuple[Any, ...]]:
    rows = pq.read_table(out / name).to_pylist()
    return sorted((tuple(row[column] for column in columns) for row in rows), key=str)


def test_a_page_whose_picture_is_lost_fails_and_a_blank_one_is_not_asked_about(tmp_path: Path, tiny_base: Path) -> None:
    lost = picture_pdf(b"12345 not a jpeg", b"/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/DCTDecode")
    report, out = run(tmp_path, tiny_base, {"blank.pdf": words_pdf(b""), "lost.pdf": lost, "sound.pdf": words_pdf()})
    assert table(out, "answers", "document", "question_id", "status", "finish_reason") == [
        ("blank.pdf", "a", "not_answerable", "blank"),
        ("blank.pdf", "b", "not_answerable", "blank"),
        ("lost.pdf", "a", "failed", None),
        ("lost.pdf", "b", "failed", None),
        ("sound.pdf", "a", "answered", "stop"),
        ("sound.pdf", "b", "answered", "stop"),
    ]
    assert table(out, "pages", "document", "renderer", "blank", "is_repaired", "is_doubtful", "warnings") == [
        ("blank.pdf", "mupdf", True, False, False, None),
        ("sound.pdf", "mupdf", False, False, False, None),
    ]
    assert report["counts"]["failed"] == 2


def test_answers_from_a_doubtful_page_need_review(tmp_path: Path, tiny_base: Path) -> None:
    words = b"BT /F1 24 Tf 20 100 Td (TOTAL 1234.56) Tj ET /Gone Do\n"
    _, out = run(tmp_path, tiny_base, {"a.pdf": written_pdf([*TREE, page(b"/Font<</F1 5 0 R>>"), stream(words), FONT])})
    ((_, doubtful, warnings),) = table(out, "pages", "document", "is_doubtful", "warnings")
    assert doubtful
    assert "page may not be correct" in warnings
    assert {status for (status,) in table(out, "answers", "status")} == {"needs_review"}


def test_the_pdfs_inside_a_portfolio_are_documents_of_their_own(tmp_path: Path, tiny_base: Path) -> None:
    inner = portfolio({"deep.pdf": text_pdf(1)})
    outer = portfolio({"offer.pdf": text_pdf(2), "terms.docx": b"PK", "more.pdf": inner})
    for _ in range(2):  # the second run has nothing left to do
        report, out = run(tmp_path, tiny_base, {"deals.pdf": outer})
        assert table(out, "answers", "document", "page", "question_id", "status") == [
            ("deals.pdf", None, "a", "failed"),
            ("deals.pdf", None, "b", "failed"),
            ("deals.pdf/more.pdf", None, "a", "failed"),
            ("deals.pdf/more.pdf", None, "b", "failed"),
            ("deals.pdf/more.pdf/deep.pdf", 1, "a", "answered"),
            ("deals.pdf/more.pdf/deep.pdf", 1, "b", "answered"),
            ("deals.pdf/offer.pdf", 1, "a", "answered"),
            ("deals.pdf/offer.pdf", 1, "b", "answered"),
            ("deals.pdf/offer.pdf", 2, "a", "answered"),
            ("deals.pdf/offer.pdf", 2, "b", "answered"),
        ]
    assert report["this_run"]["bundles"] == 0
    kinds = {(d, kind) for d, kind in table(out, "failures", "document", "error_type")}
    assert kinds == {("deals.pdf", "UnsupportedDocument"), ("deals.pdf/more.pdf", "UnsupportedDocument")}
    assert any("not read: terms.docx" in message for (message,) in table(out, "failures", "error_message"))


def portfolio(files: dict[str, bytes]) -> bytes:
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "For the best experience, open this PDF portfolio in Acrobat")
        for name, data in files.items():
            document.embfile_add(name, data, filename=name)
        document.xref_set_key(document.pdf_catalog(), "Collection", "<</View/D>>")
        made: bytes = document.tobytes()
    return made


def test_a_locked_document_is_read_with_its_password(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PASSWORD", "s3cret")
    (tmp_path / "passwords.yaml").write_text('"a*": {env: A_PASSWORD}\n')
    files = {"a.pdf": encrypted_pdf("s3cret"), "b.pdf": encrypted_pdf("other")}
    _, out = run(tmp_path, tiny_base, files, password_file=str(tmp_path / "passwords.yaml"))
    assert table(out, "answers", "document", "status") == [
        ("a.pdf", "answered"),
        ("a.pdf", "answered"),
        ("b.pdf", "failed"),
        ("b.pdf", "failed"),
    ]
    ((_, command), _) = table(out, "failures", "error_type", "command")
    assert "--password-file" in command
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"s3cret" not in written


def test_pages_beyond_a_wrong_count_are_read(tmp_path: Path, tiny_base: Path) -> None:
    _, out = run(tmp_path, tiny_base, {"a.pdf": many_pages_pdf([b"BT /F1 24 Tf 20 100 Td (TOTAL) Tj ET"] * 4, count=1)})
    assert table(out, "pages", "page", "is_repaired") == [(n, True) for n in range(1, 5)]
