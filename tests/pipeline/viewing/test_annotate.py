from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from PIL import Image

from pipeline.errors import OutputError, UsageError
from pipeline.file_names import readable
from pipeline.pages.renderer import RenderChild
from pipeline.viewing.annotate import (
    Annotated,
    annotate_documents,
    closing_words,
    documents_to_annotate,
)
from pipeline.viewing.copies import _name, folder_for_copies
from pipeline.viewing.originals import Originals
from pipeline.viewing.published import read_published
from tests.support.odd_names import ODD_NAMES
from tests.support.viewed import QUESTIONS, TOTAL_BOX, answer, of_document, review, write_output, write_pdf


def annotated(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    child: RenderChild,
    name: str = "copies",
    reviews: list[dict[str, Any]] | None = None,
) -> Annotated:
    run = read_published(write_output(tmp_path / "out", rows, reviews=reviews or ()))
    documents = documents_to_annotate(run)
    done: list[int] = []
    with folder_for_copies(run, tmp_path / name) as copies:
        result = annotate_documents(
            documents.values(), QUESTIONS, copies, Originals(child), child, lambda: done.append(1)
        )
    assert len(done) == len(documents)
    return result


def notes(path: Path) -> list[list[str]]:
    with pymupdf.open(path) as pdf:
        return [[annotation.info["content"] for annotation in page.annots()] for page in pdf]


def test_answers_become_notes_and_others_do_not(tmp_path: Path, child: RenderChild) -> None:
    write_pdf(tmp_path / "in/a/b.pdf", pages=2)
    here = of_document(tmp_path / "in", "a/b.pdf")
    before = (tmp_path / "in/a/b.pdf").read_bytes()
    rows = [
        answer(**here, evidence=[TOTAL_BOX]),
        answer(**here, question_id="date", answer="n/a", status="not_answerable"),
        answer(**here, page=2, answer="", status="needs_review", review_reasons=["empty"], confidence=None),
        answer(document_id="x", document="bad.pdf", page=None, status="failed", answer=None),
    ]
    result = annotated(tmp_path, rows, child)
    assert (result.documents, result.pictures, result.missing) == (1, [], {})
    assert notes(tmp_path / "copies/a/b.pdf") == [
        ["What is the total?\n1903.88\nanswered\nconfidence 0.900"],
        ["What is the total?\nno answer\nto review\nthe answer is empty"],
    ]
    assert (tmp_path / "in/a/b.pdf").read_bytes() == before
    assert os.listdir(tmp_path / "in") == ["a"]


def test_an_answer_about_pages_together_has_a_note_on_each_page_with_a_box(tmp_path: Path, child: RenderChild) -> None:
    write_pdf(tmp_path / "in/a.pdf", pages=3)
    here = of_document(tmp_path / "in", "a.pdf")
    rows = [
        answer(**here, pages=[1, 2, 3], evidence=[TOTAL_BOX | {"page": 3}, TOTAL_BOX | {"page": 2}]),
        answer(**here, pages=[1, 2], question_id="date", answer="May", evidence=[]),
    ]
    annotated(tmp_path, rows, child)
    told = "What is the total?\n1903.88\npages 1, 2 and 3\nanswered\nconfidence 0.900"
    date = "When?\nMay\npages 1 and 2\nanswered\nconfidence 0.900"
    found = notes(tmp_path / "copies/a.pdf")
    assert [page[0].partition("\n")[2] for page in found] == [date.partition("\n")[2], *[told.partition("\n")[2]] * 2]


def test_what_people_corrected_becomes_their_answer(tmp_path: Path, child: RenderChild) -> None:
    write_pdf(tmp_path / "in/a.pdf")
    here = of_document(tmp_path / "in", "a.pdf")
    rows = [
        answer(**here, answer="7", unit_id="a", status="needs_review", review_reasons=["floor"]),
        answer(**here, answer="8", unit_id="b", question_id="date"),
    ]
    reviews = [review("1903.88", unit_id="a"), review("n/a", unit_id="b", question_id="date")]
    annotated(tmp_path, rows, child, reviews=reviews)
    expected = "What is the total?\n1903.88\nanswered\nreviewed by a person\nthe model had said: 7"
    assert notes(tmp_path / "copies/a.pdf") == [[expected]]


def test_an_image_becomes_a_pdf_of_its_picture(tmp_path: Path, child: RenderChild) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (200, 100), (9, 90, 200)).save(tmp_path / "in/a.png", dpi=(72, 72))
    box = {"x0": 20.0, "y0": 20.0, "x1": 90.0, "y1": 40.0, "score": 1.0}
    result = annotated(tmp_path, [answer(**of_document(tmp_path / "in", "a.png"), evidence=[box])], child)
    assert result.pictures == ["a.png"]
    with pymupdf.open(tmp_path / "copies/a.png.pdf") as pdf:
        assert (pdf[0].rect.width, pdf[0].rect.height) == pytest.approx((200, 100), rel=1e-3)
        page = pdf[0]  # which its annotations need
        (highlight,) = page.annots()
        assert highlight.rect.contains(pymupdf.Rect(20, 20, 90, 40))
        assert page.get_pixmap().pixel(150, 80) == (9, 90, 200)
    assert closing_words(result, tmp_path / "copies")[1].startswith("1 of them hold pictures")


def test_documents_that_are_gone_cost_themselves_only(tmp_path: Path, child: RenderChild) -> None:
    write_pdf(tmp_path / "in/a.pdf")
    write_pdf(tmp_path / "in/b.pdf", total="2.00")
    rows = [answer(**of_document(tmp_path / "in", name)) for name in ("a.pdf", "b.pdf")]
    (tmp_path / "in/a.pdf").unlink()
    result = annotated(tmp_path, rows, child)
    assert (result.documents, list(result.missing)) == (1, [rows[0]["document_id"]])
    (reason,) = result.missing.values()
    assert reason.startswith(f"a.pdf: it was not found in {tmp_path / 'in'}; ")
    assert closing_words(result, tmp_path / "copies") == [f"1 annotated copy in {tmp_path / 'copies'}"]


def test_documents_of_one_path_below_two_inputs_are_both_told(tmp_path: Path, child: RenderChild) -> None:
    rows = []
    for source in ("in", "more"):
        write_pdf(tmp_path / source / "a.pdf", total=source)
        rows.append(answer(**of_document(tmp_path / source, "a.pdf")))
        (tmp_path / source / "a.pdf").unlink()
    told = sorted(annotated(tmp_path, rows, child).missing.values())
    assert [reason.partition(";")[0] for reason in told] == [
        f"a.pdf: it was not found in {tmp_path / source}" for source in ("in", "more")
    ]


def test_a_locked_document_is_told_by_name(tmp_path: Path, child: RenderChild) -> None:
    write_pdf(tmp_path / "in/a.pdf")
    with pymupdf.open(tmp_path / "in/a.pdf") as pdf:
        pdf.save(tmp_path / "in/locked.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="x", owner_pw="y")
    rows = [answer(**of_document(tmp_path / "in", name)) for name in ("a.pdf", "locked.pdf")]
    result = annotated(tmp_path, rows, child)
    assert result.documents == 1
    (reason,) = result.missing.values()
    assert reason.startswith(f"locked.pdf in {tmp_path / 'in'}: ")


def test_documents_of_one_path_below_two_inputs_do_not_replace_each_other(tmp_path: Path, child: RenderChild) -> None:
    rows = []
    for source, total in (("in", "1.00"), ("more", "2.00")):
        write_pdf(tmp_path / source / "a.pdf", total=total)
        rows.append(answer(**of_document(tmp_path / source, "a.pdf"), answer=total))
    assert annotated(tmp_path, rows, child).documents == 2
    found = sorted(note for path in (tmp_path / "copies").iterdir() for (note,) in notes(path))
    assert [note.splitlines()[1] for note in found] == ["1.00", "2.00"]


@pytest.mark.parametrize(
    "name", [*ODD_NAMES, "../../etc/x.pdf", "/etc/x.pdf", "./a/../b.pdf", "..", "x" * 255 + ".pdf"]
)
def test_copies_stay_in_their_folder_whatever_the_name(name: str) -> None:
    name = readable(name)  # as tables have it
    path = _name(name)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert path.suffix.lower() == ".pdf"
    assert max(len(part.encode()) for part in path.parts) <= 255
    if ".." not in name and len(name) < 100:
        assert str(path) == name.lstrip("/") or name.lower().endswith((".png", ".jpg", ".tif")) or name.startswith("./")


def test_a_folder_with_something_in_it_or_in_the_input_is_refused(tmp_path: Path) -> None:
    write_pdf(tmp_path / "in/a.pdf")
    run = read_published(write_output(tmp_path / "out", [answer(**of_document(tmp_path / "in", "a.pdf"))]))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with (
        pytest.raises(UsageError, match="--to .*full: expected a new or an empty folder"),
        folder_for_copies(run, tmp_path / "full"),
    ):
        pass
    for inside in ("in", "in/copies"):
        with pytest.raises(UsageError, match="--to .* --input"), folder_for_copies(run, tmp_path / inside):
            pass
    with pytest.raises(UsageError, match="cannot write"), folder_for_copies(run, tmp_path / "full/mine.txt"):
        pass
    for _ in range(2):
        with folder_for_copies(run, tmp_path / "new/deep"):
            pass


def test_a_full_disk_leaves_no_copy_behind_so_that_the_same_command_works(
    tmp_path: Path, child: RenderChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    for name in ("a.pdf", "b/c.pdf"):
        write_pdf(tmp_path / "in" / name)
        rows.append(answer(**of_document(tmp_path / "in", name)))

    def full(copy: Path, target: Path) -> None:
        Path(target).write_bytes(copy.read_bytes()[:100])
        if (tmp_path / "new/copies/a.pdf").exists():
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        Path(target).write_bytes(copy.read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", full)
        with pytest.raises(OutputError, match="cannot write .*new/copies/b/c.pdf: .Errno 28. No space left on device;"):
            annotated(tmp_path, rows, child, "new/copies")
    assert not (tmp_path / "new").exists()
    assert annotated(tmp_path, rows, child, "new/copies").documents == 2
