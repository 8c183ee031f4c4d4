from __future__ import annotations

import errno
import os
from pathlib import Path

import pymupdf
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.cli.main import app
from tests.support.viewed import TOTAL_BOX, answer, of_document, write_output, write_pdf


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    write_pdf(tmp_path / "in/my a.pdf")
    write_output(tmp_path / "out", [answer(**of_document(tmp_path / "in", "my a.pdf"), evidence=[TOTAL_BOX])])
    monkeypatch.chdir(tmp_path)
    return "out"


def docpipe(*words: str, code: int = 0) -> str:
    outcome = CliRunner().invoke(app, list(words))
    assert outcome.exit_code == code, outcome.output
    return outcome.output


def test_show_writes_a_picture(out: str) -> None:
    said = docpipe("show", out, "my a.pdf", "total")
    assert said.splitlines() == ["1903.88 (page 1, answered, confidence 0.900)", "written to my_a-total-p1.png"]
    with Image.open("my_a-total-p1.png") as picture:
        assert picture.format == "PNG"
    docpipe("show", out, "my a.pdf", "total", "--page", "1", "--to", "b.PNG")
    assert Path("b.PNG").is_file()


def test_show_refuses_what_it_cannot_do_in_one_line(out: str, tmp_path: Path) -> None:
    for words, message in (
        (("other.pdf", "total"), "docpipe: no document other.pdf in "),
        (("my a.pdf", "total", "--to", "a.jpg"), "docpipe: --to a.jpg: expected a name that ends in .png"),
        (("my a.pdf", "total", "--to", "no/a.png"), "docpipe: --to no/a.png: the folder no does not exist"),
    ):
        said = docpipe("show", out, *words, code=2)
        assert said.startswith(message)
        assert len(said.splitlines()) == 1
    Path("in").rename("moved")
    assert "name its folder with --input" in docpipe("show", out, "my a.pdf", "total", code=2)
    docpipe("show", out, "my a.pdf", "total", "--input", "moved")


def test_show_never_writes_over_the_document(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (300, 200), "white").save(tmp_path / "in/a.png")
    write_output(tmp_path / "out", [answer(**of_document(tmp_path / "in", "a.png"))])
    said = docpipe("show", str(tmp_path / "out"), "a.png", "total", "--to", str(tmp_path / "in/a.png"), code=2)
    assert "is the document itself" in said


def test_annotate_writes_copies(out: str) -> None:
    assert docpipe("annotate", out, "--to", "copies", "--quiet") == ""
    with pymupdf.open("copies/my a.pdf") as pdf:
        assert len(list(pdf[0].annots())) == 1
    assert "expected a new or an empty folder" in docpipe("annotate", out, "--to", "copies", code=2)


def test_documents_without_a_copy_or_a_picture_are_named_and_a_script_sees_it(tmp_path: Path) -> None:
    rows = []
    for name in ("in/a.pdf", "b/x.pdf", "c/x.pdf"):
        folder, _, file = name.partition("/")
        write_pdf(tmp_path / name, total=folder)
        rows.append(answer(**of_document(tmp_path / folder, file), evidence=[TOTAL_BOX]))
    out, to = str(write_output(tmp_path / "out", rows).uri), tmp_path / "copies"
    for gone in ("b", "c"):
        (tmp_path / gone).rename(tmp_path / f"{gone}-moved")
    said = CliRunner().invoke(app, ["annotate", out, "--to", str(to), "--quiet"])
    assert (said.exit_code, said.stdout) == (1, "")
    told = [f"x.pdf: it was not found in {tmp_path / gone}; " for gone in ("b", "c")]
    assert all(
        line.startswith(f"no copy: {start}") for line, start in zip(sorted(said.stderr.splitlines()), told, strict=True)
    )
    assert [path.name for path in to.iterdir()] == ["a.pdf"]
    _, _, lines = docpipe("report", out).partition("no picture of 2 documents:\n")
    assert all(line.startswith(f"  {start}") for line, start in zip(sorted(lines.splitlines()), told, strict=True))


def test_annotate_without_any_document_is_refused(out: str) -> None:
    Path("in").rename("moved")
    said = docpipe("annotate", out, "--to", "copies", "--quiet", code=2)
    assert said.startswith("docpipe: no copy was written\nmy a.pdf: ")
    assert said.rstrip().endswith("name its folder with --input")
    assert not Path("copies").exists()


def test_report_is_written_beside_the_answers_or_where_it_is_wanted(out: str, tmp_path: Path) -> None:
    said = docpipe("report", out)
    assert said.splitlines()[-1] == "report: out/report.html (1 answer, 1 with their place)"
    assert Path("out/report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert docpipe("report", out, "--to", "r.html", "--compare", out, "--crops", "0", "--quiet") == ""
    assert "Since out" in Path("r.html").read_text(encoding="utf-8")
    assert docpipe("report", "in", code=2).startswith("docpipe: in: expected the output folder of `docpipe run`")
    docpipe("report", out, "--price-per-hour", "-1", code=2)


def test_report_refuses_a_place_that_cannot_be_written_before_it_draws(
    out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.viewing.report.page.make_report", None)
    assert "--to no/r.html: the folder no does not exist; make it" in docpipe(
        "report", out, "--to", "no/r.html", code=2
    )
    assert "--to in: expected a file or a new name, found a folder" in docpipe("report", out, "--to", "in", code=2)
    assert "--to in/my a.pdf may be a document" in docpipe("report", out, "--to", "in/my a.pdf", code=2)


@pytest.mark.parametrize(
    ("words", "name", "write"),
    [
        (("report",), "r.html", "pathlib.Path.write_bytes"),
        (("show", "my a.pdf", "total"), "r.png", "PIL.Image.Image.save"),
    ],
    ids=["report", "show"],
)
def test_a_full_disk_leaves_the_file_that_was_there(
    out: str, words: tuple[str, ...], name: str, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        (path,) = (one for one in given if isinstance(one, Path))
        with path.open("wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    Path(name).write_text("good")
    before = sorted(os.listdir())
    monkeypatch.setattr(write, full)
    said = docpipe(words[0], out, *words[1:], "--to", name, code=2)
    assert f"docpipe: cannot write {name}: [Errno 28] No space left on device; check access" in said
    assert (Path(name).read_text(), sorted(os.listdir())) == ("good", before)


@pytest.mark.slow
def test_the_demo_ends_with_its_report(tmp_path: Path) -> None:
    *_, last = docpipe("demo", "--out", str(tmp_path / "demo"), "--documents", "1").splitlines()
    path = tmp_path / "demo/answers/report.html"
    assert last.startswith(f"report: {path} (5 answers, ")
    assert "5 answers from 1 document" in path.read_text(encoding="utf-8")
