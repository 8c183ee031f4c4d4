"""What a person corrects comes back, once, and goes before what the model said in everything that is read later."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.output.corrections import Taken, take_corrections
from pipeline.output.current import Plan, read_current
from pipeline.output.export.write import write_export, write_review_sheet
from pipeline.output.folder import Folder
from pipeline.output.lock import OutputLock
from pipeline.output.reviews import REVIEWED, add_reviews, read_reviews
from pipeline.output.schema import REVIEWS
from tests.support.exported import asked_of, output_folder, publish_again
from tests.support.review_sheets import exported, fill_in, sheet_of

TOTALS = [["12?", "$ 7.50"], ["=1+1?"], ["99 USD"]]
DATES = [["2024-05-18", "2024-05-19?"], ["soon"], [None]]
Edit = Callable[[list[dict[str, str]]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return output_folder(tmp_path / "out", {"total": TOTALS, "date": DATES})


def correct(folder: Folder, tmp_path: Path, answers: dict[str, str], reviewer: str = "ada") -> Taken:
    """Fill in a review sheet by the answers in it, and take it back."""
    path = tmp_path / f"sheet{len(list(tmp_path.iterdir()))}.csv"
    rows = sheet_of(folder, path)
    for row in rows:
        row["reviewed_answer"] = answers.get(row["answer"], "")
    fill_in(path, rows)
    return take_corrections(folder, path, reviewer)


def test_the_sheet_has_what_needs_review_least_confident_first(folder: Folder, tmp_path: Path) -> None:
    rows = sheet_of(folder, tmp_path / "sheet.csv")
    assert [(row["document"], row["page"], row["question"], row["answer"]) for row in rows] == [
        ("docs/d0000.pdf", "2", "date", "2024-05-19"),
        ("docs/d0000.pdf", "1", "total", "12"),
        ("docs/d0001.pdf", "1", "total", "'=1+1"),
        ("docs/d0001.pdf", "1", "date", "soon"),
    ]
    assert rows[0]["asked"] == "When?"
    assert list(rows[0])[-4:] == ["reviewed_answer", "comment", "reviewer", "row"]
    assert [row["confidence"] for row in rows] == [""] * 4  # ranked by what the model says of itself, not shown
    assert all(row["row"].startswith("p") for row in rows)


def test_a_sheet_that_somebody_may_have_filled_in_is_not_replaced(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("mine")
    with pytest.raises(UsageError, match="exists, and may hold corrections; take them back"):
        write_review_sheet(folder, tmp_path / "sheet.csv")
    assert (tmp_path / "sheet.csv").read_text() == "mine"
    with pytest.raises(UsageError, match="--format records: a sheet to fill in has to be one of csv, xlsx"):
        write_review_sheet(folder, tmp_path / "new.csv", "records")


def test_corrections_come_back_typed(folder: Folder, tmp_path: Path) -> None:
    taken = correct(folder, tmp_path, {"12": "1,200.50 USD", "soon": "n/a", "'=1+1": "'-2.00 EUR"})
    assert taken == Taken(added=3, known=0, empty=1, commented=0)
    reviews = read_reviews(folder)
    assert reviews.schema == REVIEWED
    found = {row["answer"]: row for row in reviews.to_pylist()}
    assert found["12"]["reviewed_value_number"] == Decimal("1200.5")
    assert (found["12"]["reviewed_value_currency"], found["12"]["reviewer"]) == ("USD", "ada")
    assert (found["soon"]["status"], found["soon"]["reviewed_value"]) == ("not_answerable", None)
    assert (found["=1+1"]["reviewed_answer"], found["=1+1"]["reviewed_value_number"]) == ("-2.00 EUR", Decimal(-2))
    assert sheet_of(folder, tmp_path / "left.csv")[0]["answer"] == "2024-05-19"
    assert len(sheet_of(folder, tmp_path / "left2.csv")) == 1


def test_a_sheet_taken_twice_changes_nothing(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    rows = sheet_of(folder, path)
    for row in rows:
        row["reviewed_answer"] = "2024-05-20" if row["question"] == "date" else "5 USD"
    fill_in(path, rows)
    assert take_corrections(folder, path, "ada").added == 4
    files = sorted(Path(folder.root, "reviews").iterdir())
    assert take_corrections(folder, path, "bob") == Taken(added=0, known=4, empty=0, commented=0)
    assert sorted(Path(folder.root, "reviews").iterdir()) == files
    rows[0]["reviewed_answer"] = "2024-05-21"
    fill_in(path, rows)
    assert take_corrections(folder, path, "bob") == Taken(added=1, known=3, empty=0, commented=0)
    reviews = read_reviews(folder).to_pylist()
    assert len(reviews) == 4
    assert [row["reviewed_answer"] for row in reviews if row["reviewer"] == "bob"] == ["2024-05-21"]
    assert len(pq.read_table(f"{folder.root}/reviews")) == 5


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-8")])
def test_a_sheet_that_a_spreadsheet_has_changed(folder: Folder, tmp_path: Path, delimiter: str, encoding: str) -> None:
    path = tmp_path / "sheet.csv"
    rows = [dict(reversed([*row.items(), ("my notes", "ä;,\n")])) for row in sheet_of(folder, path)]
    rows[0] |= {"reviewed_answer": "2024-05-20", "comment": "größer; als gedacht", "reviewer": "Zoë"}
    rows[1] |= {"comment": "no idea"}
    fill_in(path, rows, delimiter, encoding)
    assert take_corrections(folder, path, "ada") == Taken(added=1, known=0, empty=3, commented=1)
    (row,) = read_reviews(folder).to_pylist()
    assert (row["comment"], row["reviewer"]) == ("größer; als gedacht", "Zoë")


def test_a_workbook_comes_back(folder: Folder, tmp_path: Path) -> None:
    write_review_sheet(folder, tmp_path / "sheet.xlsx")
    book = openpyxl.load_workbook(tmp_path / "sheet.xlsx")
    sheet: Any = book.worksheets[0]
    names = [cell.value for cell in sheet[1]]
    answer, reviewed = names.index("answer"), names.index("reviewed_answer")
    assert {row[reviewed].number_format for row in sheet.iter_rows(min_row=2)} == {"@"}
    for row in sheet.iter_rows(min_row=2):
        row[reviewed].value = {"12": 1200.5, "soon": None, "=1+1": "7 USD"}.get(row[answer].value)
    book.save(tmp_path / "sheet.xlsx")
    assert take_corrections(folder, tmp_path / "sheet.xlsx", "ada") == Taken(added=2, known=0, empty=2, commented=0)
    assert {row["reviewed_value_number"] for row in read_reviews(folder).to_pylist()} == {Decimal("1200.5"), Decimal(7)}


def taken_from_workbook(tmp_path: Path, question: str, *entries: Any) -> list[dict[str, Any]]:
    """Fill cells of a workbook in for the only question, and return the corrections."""
    text = f"version: 1\nquestions: [{{id: a, text: A, {question}}}]"
    folder = output_folder(tmp_path / "out", {"a": [["1?"]] * len(entries)}, asked_of(text))
    path = tmp_path / "sheet.xlsx"
    write_review_sheet(folder, path)
    book = openpyxl.load_workbook(path)
    sheet: Any = book.worksheets[0]
    names = [cell.value for cell in sheet[1]]
    for line, entry in enumerate(entries, start=2):
        sheet.cell(line, names.index("reviewed_answer") + 1).value = entry
    book.save(path)
    take_corrections(folder, path, "ada")
    return read_reviews(folder).to_pylist()


@pytest.mark.parametrize("locale", ["", ", locale: de_DE", ", locale: en_US", ", locale: de_CH", ", locale: fr_FR"])
def test_a_number_in_a_workbook_is_read_as_that_number_in_any_locale(tmp_path: Path, locale: str) -> None:
    entries = [1.234, -1234.567, 0.125, 1e16, 12, 0.1 + 0.2, 123456.789]
    rows = taken_from_workbook(tmp_path, f"type: number{locale}", *entries)
    wanted = [Decimal(text) for text in ("1.234", "-1234.567", "0.125", "1e16", "12", "0.3", "123456.789")]
    assert [row["reviewed_value_number"] for row in rows] == wanted
    assert {row["status"] for row in rows} == {"answered"}


def test_a_number_in_a_workbook_is_written_as_the_documents_would(tmp_path: Path) -> None:
    (row,) = taken_from_workbook(tmp_path, "type: number, locale: de_DE", 1.234)  # which is 1234 as text
    assert row["reviewed_answer"] == "1,234"


@pytest.mark.parametrize(
    ("question", "entry", "answer", "value"),
    [
        ("type: integer", 1e16, "10000000000000000", "10000000000000000"),
        ("type: integer, locale: de_DE", 1234.0, "1234", "1234"),
        ("type: money", 1903.88, "1903.88", '{"amount": "1903.88", "currency": null}'),
        ("type: list, items: number", 1.234, "1.2340", "[1.2340]"),
        ("type: text", 1.234, "1.234", '"1.234"'),
        ("type: text", True, "TRUE", '"TRUE"'),
        ("type: boolean", True, "TRUE", "true"),
        ("type: boolean", False, "FALSE", "false"),
        ("type: choice, choices: ['True', 'False']", True, "TRUE", '"True"'),
    ],
)
def test_what_a_workbook_holds_becomes_an_answer(
    tmp_path: Path, question: str, entry: Any, answer: str, value: str
) -> None:
    (row,) = taken_from_workbook(tmp_path, question, entry)
    assert (row["reviewed_answer"], row["reviewed_value"]) == (answer, value)


@pytest.mark.parametrize(
    ("question", "entry", "reason"),
    [
        ("type: money", 1.234, "the number 1.234 has no place in an answer of type money"),
        ("type: integer", 1.234, "the number 1.234 has no place in an answer of type integer"),
        ("type: integer, locale: de_DE", 1.234, "the number 1.234 has no place in an answer of type integer"),
        ("type: text", "=A1&B1", "=A1&B1 is a formula without a result; write the result"),
        ("type: text", "#NAME?", "expected an answer, found #NAME?, by which a spreadsheet tells of an error"),
        ("type: text", "#N/A", "expected an answer, found #N/A"),
        ("type: text", "#DIV/0!", "expected an answer, found #DIV/0!"),
        ("type: text", "#BEZUG!", "expected an answer, found #BEZUG!"),
        ("type: text", "Err:508", "expected an answer, found Err:508"),
        ("type: text", "####", "expected an answer, found ####"),
    ],
)
def test_what_a_workbook_holds_may_be_no_answer(tmp_path: Path, question: str, entry: Any, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        taken_from_workbook(tmp_path, question, entry)
    assert f"line 2: reviewed_answer: {reason}" in str(caught.value)


def test_wrong_lines_are_named_and_nothing_is_taken(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    rows = sheet_of(folder, path)
    rows[0]["reviewed_answer"] = "2024-05-20"
    rows[1]["reviewed_answer"] = "about twelve"
    rows[2] |= {"reviewed_answer": "1 USD", "row": "4.81516E+15"}
    rows[3] |= {"reviewed_answer": "2024-01-01", "row": "p1-" + "0" * 24}
    again = rows[0] | {"reviewed_answer": "2024-05-21"}
    fill_in(path, [*rows, again])
    with pytest.raises(UsageError) as caught:
        take_corrections(folder, path, "ada")
    lines = str(caught.value).removeprefix(f"{path}: ").replace(f"\n{path}: ", "\n").splitlines()
    assert lines == [
        "line 3: reviewed_answer: expected one amount of money, found 'about twelve'; "
        "n/a says that the page does not say",
        "line 4: row: expected what docpipe export --review wrote there, found '4.81516E+15'",
        "line 5: row: belongs to no answer of this folder; was the sheet written from another one?",
        "line 6: the same row is on line 2 with another answer",
        "nothing was taken; correct these lines, or take them out",
    ]
    assert not Path(folder.root, "reviews").exists()


@pytest.mark.parametrize(
    ("question", "answer", "written"),
    [
        ("type: money", "$9.61", ["USD 9.61", "CAD 9.61", "AUD 9.61"]),
        ("type: money, locale: de_DE", "kr 1.234,50", ["SEK 1234.50", "NOK 1234.50", "DKK 1234.50"]),
        ("type: money", "-$1,234.5", ["USD -1234.5", "CAD -1234.5", "AUD -1234.5"]),
        ("type: money", "EUR 12-", ["EUR -12", "EUR 12"]),
        ("type: money, locale: en_US", "EUR 1.234", ["EUR 1234"]),
        ("type: date", "01/09/2039", ["2039-01-09", "2039-09-01"]),
        ("type: date", "6.5.18", ["2006-05-18", "2018-05-06"]),
        ("type: date, locale: ja_JP", "12 Sept 24", ["2012-09-24", "2024-09-12"]),
        ("type: number", "-1.234", ["-1.2340", "-1234"]),
        ("type: list, items: money", "EUR 5; $6", ["EUR 5; USD 6"]),
        ("type: list, items: date", "1/2/2024; 2024-05-18", ["2024-01-02; 2024-05-18"]),
    ],
)
def test_what_a_doubtful_answer_is_confirmed_with_is_told_and_taken(
    tmp_path: Path, question: str, answer: str, written: list[str]
) -> None:
    text = f"version: 1\nquestions: [{{id: a, text: A, {question}}}]"
    folder = output_folder(tmp_path / "out", {"a": [[f"{answer}?"]]}, asked_of(text))
    path = tmp_path / "sheet.csv"
    (row,) = sheet_of(folder, path)
    fill_in(path, [row | {"reviewed_answer": row["answer"]}])
    with pytest.raises(UsageError) as caught:
        take_corrections(folder, path, "ada")
    told = f"; write which it is, such as {' or '.join(written)}; n/a says that the page does not say"
    assert told in str(caught.value)
    for one in written:
        fill_in(path, [row | {"reviewed_answer": one}])
        assert take_corrections(folder, path, "ada").added == 1


def test_a_row_that_is_no_longer_current_is_refused(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    rows = sheet_of(folder, path)
    rows[1]["reviewed_answer"] = "5 USD"
    fill_in(path, rows)
    nothing = Plan.of([], [])
    publish_again(folder, asked_of(), nothing)
    with pytest.raises(UsageError, match="line 3: row: is no longer current"):
        take_corrections(folder, path, "ada")
    publish_again(folder, asked_of())
    assert take_corrections(folder, path, "ada").added == 1


def test_corrections_go_before_answers_in_every_export(folder: Folder, tmp_path: Path) -> None:
    correct(folder, tmp_path, {"12": "1,200.50 USD", "soon": "n/a"})
    pages = {
        (row["document"], row["page"], row["question"]): row for row in exported(folder, tmp_path / "p.jsonl", "pages")
    }
    first = pages["docs/d0000.pdf", 1, "total"]
    assert (first["answer"], first["status"], first["reviewed"]) == ("1,200.50 USD", "answered", True)
    assert (first["value"], first["confidence"]) == ({"amount": "1200.50", "currency": "USD"}, None)
    assert (first["evidence"], first["review_reasons"]) == (None, None)
    assert pages["docs/d0000.pdf", 2, "total"]["reviewed"] is False
    documents = {(row["document"], row["question"]): row for row in exported(folder, tmp_path / "d.jsonl")}
    # The model is more sure of page 1 too, but its answer there needed review, so page 2 won before.
    total = documents["docs/d0000.pdf", "total"]
    assert (total["page"], total["answer"], total["reviewed"]) == (1, "1,200.50 USD", True)
    assert documents["docs/d0001.pdf", "date"]["status"] == "not_answerable"
    assert documents["docs/d0002.pdf", "total"]["reviewed"] is False
    write_export(folder, tmp_path / "r.json", "records")
    record = json.loads((tmp_path / "r.json").read_text(encoding="utf-8").splitlines()[0])
    assert record["data"]["total"] == {"amount": "1200.50", "currency": "USD"}
    assert record["extraction_metadata"]["field_metadata"]["total"]["reviewed"] is True


def test_a_confirmed_answer_keeps_its_evidence(folder: Folder, tmp_path: Path) -> None:
    correct(folder, tmp_path, {"12": "12"})
    (row,) = [row for row in exported(folder, tmp_path / "p.jsonl", "pages") if row["answer"] == "12"]
    assert (row["reviewed"], row["status"]) == (True, "answered")
    assert row["evidence"][0]["x1"] == 20.25


@pytest.mark.parametrize("name", ["sheet.csv", "sheet.xlsx"])
def test_a_confirmed_answer_of_several_lines_keeps_its_lines_and_evidence(tmp_path: Path, name: str) -> None:
    text = "version: 1\nquestions: [{id: a, text: A, type: list, items: text}]"
    folder = output_folder(tmp_path / "out", {"a": [["red\nblue?"], ["green\ngold?"]]}, asked_of(text))
    write_review_sheet(folder, tmp_path / name)
    if name.endswith("xlsx"):
        book = openpyxl.load_workbook(tmp_path / name)
        for row in book.worksheets[0].iter_rows(min_row=2):
            row[-4].value = "red blue" if row[4].value == "red blue" else "green"
        book.save(tmp_path / name)
    else:
        (tmp_path / name).unlink()
        rows = sheet_of(folder, tmp_path / name)
        for one in rows:
            one["reviewed_answer"] = "red blue" if one["answer"] == "red blue" else "green"
        fill_in(tmp_path / name, rows)
    assert take_corrections(folder, tmp_path / name, "ada").added == 2
    found = {row["answer"]: row for row in exported(folder, tmp_path / "p.jsonl", "pages")}
    assert found["red\nblue"]["value"] == ["red", "blue"]
    assert found["red\nblue"]["evidence"] is not None
    assert (found["green"]["value"], found["green"]["evidence"]) == (["green"], None)


def test_a_row_that_is_there_twice_counts_as_its_later_line_says(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    (first, *_) = sheet_of(folder, path)
    first |= {"reviewed_answer": "2024-05-20", "reviewer": "ada"}
    later = first | {"reviewer": "bob", "comment": "seen"}
    fill_in(path, [first, later])
    assert take_corrections(folder, path, "eve") == Taken(added=1, known=0, empty=0, commented=0)
    (row,) = read_reviews(folder).to_pylist()
    assert (row["reviewer"], row["comment"]) == ("bob", "seen")


def test_another_person_confirms_a_correction(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    (first, *_) = sheet_of(folder, path)
    for reviewer, added in (("ada", 1), ("ada", 0), ("bob", 1), ("bob", 0), ("", 0)):
        fill_in(path, [first | {"reviewed_answer": "2024-05-20", "reviewer": reviewer}])
        assert take_corrections(folder, path, "eve").added == added
    (row,) = read_reviews(folder).to_pylist()
    assert row["reviewer"] == "bob"


def test_sums_are_made_of_what_was_corrected(tmp_path: Path) -> None:
    text = "version: 1\nquestions: [{id: a, text: A, type: money, locale: en_US, aggregate: sum}]"
    folder = output_folder(tmp_path / "out", {"a": [["1 EUR", "much"]]}, asked_of(text))
    (before,) = exported(folder, tmp_path / "before.jsonl")
    assert (before["status"], before["value"], before["reviewed"]) == ("needs_review", None, False)
    correct(folder, tmp_path, {"much": "2.50 EUR"})
    (after,) = exported(folder, tmp_path / "after.jsonl")
    assert (after["status"], after["value"]) == ("answered", {"amount": "3.50", "currency": "EUR"})
    assert (after["page"], after["reviewed"], after["confidence"]) == (None, False, None)  # one amount is the model's


@pytest.mark.parametrize("rule", ["all", "list", "sum"])
def test_an_aggregate_is_reviewed_if_people_said_all_that_it_is_made_of(
    tmp_path: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_more(*given: Any) -> pa.Table:
        """Give answers a confidence, and a document that failed, which has no page."""
        rows = read_current(*given)
        if "confidence" not in rows.column_names:
            return rows
        (first, *_) = rows.to_pylist()
        failed = first | {"document_id": "f", "page": None, "pages": None, "status": "failed", "answer": None}
        told = [row | {"confidence": 0.5} for row in rows.to_pylist()]
        return pa.Table.from_pylist([failed, *told], schema=rows.schema)

    monkeypatch.setattr("pipeline.output.export.rows.read_current", with_more)
    text = f"version: 1\nquestions: [{{id: a, text: A, type: integer, locale: en_US, aggregate: {rule}}}]"
    pages = [["1?", "2?", None], ["3?", "4"], ["5?", "6?"], [None, None]]
    folder = output_folder(tmp_path / "out", {"a": pages}, asked_of(text))
    correct(folder, tmp_path, {"1": "1", "2": "7", "3": "3", "5": "n/a", "6": "n/a"})
    found = exported(folder, tmp_path / "d.jsonl")
    assert [(row["status"], row["reviewed"], row["confidence"]) for row in found] == [
        ("answered", True, None),
        ("answered", False, 0.5),
        ("not_answerable", True, None),
        ("not_answerable", False, None),
    ]


@pytest.mark.parametrize("answer", ["Na", "NA", "Not available", "not answerable", "unanswerable"])
def test_only_n_a_from_a_person_says_that_the_page_does_not_say(tmp_path: Path, answer: str) -> None:
    folder = output_folder(
        tmp_path / "out", {"a": [["1?", "2?"]]}, asked_of("version: 1\nquestions: [{id: a, text: A}]")
    )
    correct(folder, tmp_path, {"1": answer, "2": "N/A"})
    one, two = exported(folder, tmp_path / "p.jsonl", "pages")
    assert (one["status"], one["answer"], one["value"]) == ("answered", answer, answer)
    assert (two["status"], two["value"]) == ("not_answerable", None)


def test_corrections_outlive_publications_and_follow_the_type_of_their_question(folder: Folder, tmp_path: Path) -> None:
    correct(folder, tmp_path, {"12": "1,200.50 USD"})
    for file in Path(folder.root, "answers").iterdir():
        file.unlink()
    text = asked_of()
    plain = text.model_copy(update={"questions": tuple(q.model_copy(update={"type": "text"}) for q in text.questions)})
    publish_again(folder, plain)
    (row,) = read_reviews(folder).to_pylist()
    assert (row["reviewed_value"], row["reviewed_value_number"]) == ('"1,200.50 USD"', None)
    publish_again(folder, text)
    assert exported(folder, tmp_path / "p.jsonl")[0]["value"] == {"amount": "1200.50", "currency": "USD"}


def test_a_correction_whose_question_got_another_type_may_need_review_again(folder: Folder, tmp_path: Path) -> None:
    correct(folder, tmp_path, {"soon": "2024-05-20"})
    text = asked_of("version: 1\nquestions: [{id: total, text: A}, {id: date, text: B, type: boolean}]")
    publish_again(folder, text)
    (row,) = read_reviews(folder).to_pylist()
    assert (row["status"], row["reviewed_value"]) == ("needs_review", None)
    assert "expected yes or no" in row["value_error"]


def test_nobody_else_may_write_meanwhile(folder: Folder, tmp_path: Path) -> None:
    sheet_of(folder, tmp_path / "sheet.csv")
    with OutputLock(folder), pytest.raises(UsageError, match="is in use by process"):
        take_corrections(folder, tmp_path / "sheet.csv", "ada")
    assert take_corrections(folder, tmp_path / "sheet.csv", "ada").added == 0
    with pytest.raises(UsageError, match="expected the --output of a run"):
        take_corrections(Folder(str(tmp_path / "other")), tmp_path / "sheet.csv", "ada")
    assert not (tmp_path / "other").exists()


def test_a_file_of_something_else_is_named(folder: Folder) -> None:
    add_reviews(folder, [dict.fromkeys(REVIEWS.names, "x") | {"page": 1}])
    Path(folder.root, "reviews", "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"reviews/b\.parquet is not a file of docpipe"):
        read_reviews(folder)


def test_there_need_be_no_corrections(folder: Folder) -> None:
    assert read_reviews(folder).equals(REVIEWED.empty_table())
