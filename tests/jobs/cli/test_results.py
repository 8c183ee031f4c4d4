"""The commands that work on an output folder translate options, and end with one line where they cannot."""

from __future__ import annotations

import csv
import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from pipeline.output.current import Plan
from pipeline.output.folder import Folder
from pipeline.output.lock import OutputLock
from pipeline.output.reviews import add_reviews, read_reviews
from pipeline.output.tables import read_table
from tests.support.exported import asked_of, output_folder, publish_again
from tests.support.viewed import review


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    output_folder(tmp_path / "out", {"total": [["12?", "7 USD"]], "date": [["2024-05-18", None]]})
    return "out"


def call(*words: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, list(words))
    return outcome.exit_code, outcome.output


@pytest.mark.parametrize(
    ("words", "name", "lines"),
    [
        (["--to", "a.csv"], "a.csv", 3),
        (["--to", "a.CSV", "--level", "pages"], "a.CSV", 5),
        (["--to", "a.txt", "--format", "jsonl", "--level", "documents"], "a.txt", 2),
        (["--to", "a.json", "--format", "records"], "a.json", 1),
        (["--to", "a.json", "--format", "docvqa"], "a.json", 4),
    ],
)
def test_export(out: str, words: list[str], name: str, lines: int) -> None:
    code, said = call("export", out, *words)
    assert code == 0, said
    assert said.startswith(f"{4 if 'pages' in words else 2} rows of current answers in {name}, ")
    assert len(Path(name).read_text(encoding="utf-8").splitlines()) == lines


def test_an_export_replaces_no_document(out: str) -> None:
    Path("a.pdf").write_text("mine")
    code, said = call("export", out, "--to", "a.pdf", "--format", "csv")
    assert (code, Path("a.pdf").read_text()) == (2, "mine")
    assert said.startswith("docpipe: --to a.pdf may be a document, which would be replaced; choose another name")
    for _ in range(2):  # what is no document is replaced
        assert call("export", out, "--to", "a.csv")[0] == 0


def test_a_review_goes_out_and_comes_back(out: str) -> None:
    code, said = call("export", out, "--review", "--to", "sheet.csv")
    assert (code, said) == (
        0,
        "1 answer to review in sheet.csv\nfill in reviewed_answer, then: docpipe review out --import sheet.csv\n",
    )
    with open("sheet.csv", encoding="utf-8-sig", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    rows[0]["reviewed_answer"] = "12 USD"
    with open("sheet.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert call("review", out, "--import", "sheet.csv") == (
        0,
        "1 correction added, 0 known already, 0 rows not filled in\n",
    )
    (row,) = read_reviews(Folder(out)).to_pylist()
    assert (row["reviewed_answer"], row["reviewer"]) == ("12 USD", getpass.getuser())
    assert call("export", out, "--review", "--to", "left.csv") == (0, "nothing to review; left.csv has no rows\n")


def test_corrections_of_answers_that_are_no_longer_current_are_told_apart(out: str) -> None:
    (known,) = read_rows_of_total(out)
    add_reviews(Folder(out), [review("12 USD", **known)])
    assert export_errors(out) == ""
    add_reviews(Folder(out), [review("7", **known | {"unit_id": unit}) for unit in ("older", "oldest")])
    expected = (
        "2 corrections belong to answers that are no longer current, as document, question or pages have changed; "
    )
    assert export_errors(out) == f"{expected}out/reviews/ keeps what was said\n"
    publish_again(Folder(out), asked_of(), Plan.of([], []))
    assert export_errors(out).startswith("3 corrections belong to answers that are no longer current")


def read_rows_of_total(out: str) -> list[dict[str, Any]]:
    columns = ["unit_id", "page", "document_id", "document", "question_id", "answer"]
    (name,) = Folder(out).names("answers", ".parquet")
    return [row for row in read_table(Folder(out), name, columns).to_pylist() if row["answer"] == "12"]


def export_errors(out: str) -> str:
    outcome = CliRunner().invoke(app, ["export", out, "--to", "a.csv"])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stderr


def test_a_user_without_a_name_and_a_comment_without_an_answer(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    call("export", out, "--review", "--to", "sheet.csv")
    text = Path("sheet.csv").read_text(encoding="utf-8-sig")
    Path("sheet.csv").write_text(text.replace(",,,,", ",,,hm,"), encoding="utf-8")
    code, said = call("review", out, "--import", "sheet.csv")
    assert (code, said.splitlines()) == (
        0,
        ["0 corrections added, 0 known already, 1 row not filled in", "1 comment without a reviewed_answer not kept"],
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["export", "out", "--to", "a.csv", "--format", "parquet"], "--format parquet: expected one of"),
        (["export", "out", "--to", "a.csv", "--level", "lines"], "--level lines: csv takes documents or pages"),
        (["export", "out", "--to", "a.csv", "--review", "--level", "pages"], "leave --level out"),
        (["export", "nowhere", "--to", "a.csv"], "nowhere: expected the --output of a run, found no answers"),
        (["export", "FILE", "--to", "a.csv"], "FILE: expected a folder, found a file"),
        (["export", "out"], "missing option '--to'"),
        (["review", "out"], "missing option '--import'"),
        (["review", "out", "--import", "none.csv"], "none.csv: cannot be read"),
    ],
)
def test_what_cannot_be_done(out: str, words: list[str], reason: str) -> None:
    Path("FILE").write_text("mine")
    code, said = call(*words)
    assert (code, len(said.splitlines())) == (2, 1), said
    assert reason in said
    assert not Path("nowhere").exists()


def test_corrections_of_another_run_are_taken_over(out: str) -> None:
    folder = output_folder(Path("other"), {"total": [["12", "7 USD"]], "date": [["2024-05-18", None]]})
    rows = read_table(folder, folder.names("answers", ".parquet")[0], ["unit_id", "document_id", "page", "question_id"])
    said = {("total", 1): "12 USD", ("date", 1): "2024-05-19"}
    add_reviews(
        folder,
        [
            {**row, "document": "x", "answer": "x", "reviewed_answer": said[key], "comment": None, "reviewer": "ada"}
            for row in rows.to_pylist()
            if (key := (row["question_id"], row["page"])) in said
        ],
    )
    texts = {"total": "What is the total?", "date": "How long?"}
    asked = {f"question {name}": {"identity": "x", "fields": {"text": text}} for name, text in texts.items()}
    folder.write("settings.json", json.dumps(asked).encode())
    code, told = call("review", out, "--import", "other")
    assert code == 0, told
    assert "1 correction added, 0 known already, 1 not taken" in told
    assert "1 correction not taken: the question is asked in other words" in told
    assert [row["reviewed_answer"] for row in read_reviews(Folder(out)).to_pylist()] == ["12 USD"]


def test_parts_are_merged_unless_a_run_holds_the_folder(out: str) -> None:
    assert call("compact", out) == (0, "files of parts: 1 before, 1 now\n")
    with OutputLock(Folder(out)):
        code, said = call("compact", out)
    assert (code, "in use by process" in said) == (2, True)
    code, said = call("compact", "nothing")
    assert (code, "expected the --output of a run" in said) == (2, True)
    assert not Path("nothing").exists()
