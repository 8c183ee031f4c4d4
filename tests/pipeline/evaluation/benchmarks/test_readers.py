"""Benchmarks in their official layouts: read, scored by hand-worked figures, and written as their servers take them."""

from __future__ import annotations

import json
import lzma
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion, Reply, examples_of, replies_of
from pipeline.evaluation.benchmarks.kleister_nda import values_of
from pipeline.evaluation.benchmarks.registry import benchmark_names, find_benchmark
from tests.support.measured import measured


def files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def text(path: Path, entry: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(entry if isinstance(entry, str) else json.dumps(entry), encoding="utf-8")


def scored(benchmark: Benchmark, questions: Sequence[BenchmarkQuestion], *answers: str, pages: str = "") -> Any:
    numbers = [int(digit) for digit in pages or "0" * len(answers)]
    replies = [
        Reply(question, answer, page, answer == "n/a")
        for question, answer, page in zip(questions, answers, numbers, strict=True)
    ]
    return replies, {name: pytest.approx(value) for name, value in benchmark.score(replies).items()}


def submitted(benchmark: Benchmark, replies: Sequence[Reply], folder: Path) -> Any:
    path = folder / f"submission{benchmark.suffix}"
    benchmark.submit(replies, path)
    return json.loads(path.read_text()) if benchmark.suffix == ".json" else path


def test_every_benchmark_is_found_by_its_name() -> None:
    names = ["docvqa", "gqa", "infovqa", "kleister-nda", "mp-docvqa", "sroie", "textvqa", "vqav2"]
    assert benchmark_names() == names
    with pytest.raises(UsageError, match="--benchmark chartqa: expected one of docvqa, gqa"):
        find_benchmark("chartqa")


@pytest.mark.parametrize(
    ("below", "image"),
    [("spdocvqa_qas/val_v1.0_withQT.json", "spdocvqa_images/a_1.png"), ("val/val_v1.0.json", "val/documents/a_1.png")],
)
def test_docvqa(tmp_path: Path, below: str, image: str) -> None:
    files(tmp_path, image)
    rows = [
        {"questionId": 7, "question": "Who?", "question_types": ["form"], "image": "documents/a_1.png", "docId": 1,
         "answers": ["Ann Lee", "Lee"], "data_split": "val"},
        {"questionId": 9, "question": "Where?", "image": "documents/a_1.png", "answers": ["Lisbon"]},
    ]  # fmt: skip
    text(tmp_path / below, {"dataset_name": "docvqa", "data": rows})
    benchmark = find_benchmark("docvqa")
    questions = benchmark.read(tmp_path)
    assert questions[0] == BenchmarkQuestion(7, "Who?", (tmp_path / image,), ("Ann Lee", "Lee"))
    assert benchmark.read(tmp_path / below) == questions
    replies, found = scored(benchmark, questions, "ann lee", "Lisban")
    assert found == {"ANLS": (1 + 5 / 6) / 2}
    assert submitted(benchmark, replies, tmp_path) == [
        {"questionId": 7, "answer": "ann lee"}, {"questionId": 9, "answer": "Lisban"}]  # fmt: skip


def test_infovqa_and_a_split_without_answers(tmp_path: Path) -> None:
    files(tmp_path, "infographicsvqa_images/31.jpeg")
    row = {"questionId": 31, "question": "How many?", "image_local_name": "31.jpeg", "ocr_output_file": "31.json"}
    text(tmp_path / "infographicsvqa_qas" / "infographicsVQA_test_v1.0.json", {"data": [row]})
    benchmark = find_benchmark("infovqa")
    (question,) = benchmark.read(tmp_path)
    assert question == BenchmarkQuestion(31, "How many?", (tmp_path / "infographicsvqa_images/31.jpeg",), None)
    text(tmp_path / "infographicsVQA_val_v1.0_withQT.json", {"data": [{**row, "answers": ["4"]}]})
    (question,) = benchmark.read(tmp_path)
    assert (question.answers, scored(benchmark, [question], "4")[1]) == (("4",), {"ANLS": 1.0})


def test_textvqa(tmp_path: Path) -> None:
    files(tmp_path, "train_images/0a.jpg")
    answers = ["Nous les gosses"] * 3 + ["dakota"] * 7
    row = {"question_id": 34602, "image_id": "0a", "question": "what?", "answers": answers, "set_name": "val"}
    text(tmp_path / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": [row]})
    benchmark = find_benchmark("textvqa")
    questions = benchmark.read(tmp_path)
    assert questions == [BenchmarkQuestion(34602, "what?", (tmp_path / "train_images/0a.jpg",), tuple(answers))]
    replies, found = scored(benchmark, questions, "nous les gosses.")
    assert found == {"VQA accuracy": (3 * 2 / 3 + 7) / 10}
    assert submitted(benchmark, replies, tmp_path) == [{"question_id": 34602, "answer": "nous les gosses."}]


def test_vqav2(tmp_path: Path) -> None:
    files(tmp_path, "val2014/COCO_val2014_000000262148.jpg", "test2015/COCO_test2015_000000000001.jpg")
    asked = {"questions": [{"image_id": 262148, "question": "Where?", "question_id": 262148000}]}
    text(tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json", {"data_subtype": "val2014", **asked})
    people = [{"answer": a, "answer_confidence": "yes", "answer_id": i} for i, a in enumerate(["down"] * 9 + ["up"])]
    annotation = {"question_id": 262148000, "answers": people, "multiple_choice_answer": "down"}
    text(tmp_path / "v2_mscoco_val2014_annotations.json", {"annotations": [annotation]})
    benchmark = find_benchmark("vqav2")
    questions = benchmark.read(tmp_path)
    image = tmp_path / "val2014/COCO_val2014_000000262148.jpg"
    assert questions == [BenchmarkQuestion(262148000, "Where?", (image,), ("down",) * 9 + ("up",))]
    replies, found = scored(benchmark, questions, "up")
    assert found == {"VQA accuracy": (9 * 1 / 3 + 0) / 10}
    assert submitted(benchmark, replies, tmp_path) == [{"question_id": 262148000, "answer": "up"}]
    test = tmp_path / "v2_OpenEnded_mscoco_test-dev2015_questions.json"
    text(test, {"questions": [{"image_id": 1, "question": "Where?", "question_id": 10}]})
    (question,) = benchmark.read(test)
    assert (question.answers, question.documents[0].name) == (None, "COCO_test2015_000000000001.jpg")


def test_gqa(tmp_path: Path) -> None:
    files(tmp_path, "images/n161313.jpg")
    entries = {
        "201307251": {"imageId": "n161313", "question": "Is it overcast?", "answer": "no", "isBalanced": True},
        "201640614": {"imageId": "n161313", "question": "What colour?", "answer": "dark blue"},
    }
    text(tmp_path / "questions1.2" / "testdev_balanced_questions.json", entries)
    benchmark = find_benchmark("gqa")
    questions = benchmark.read(tmp_path)
    assert questions[0] == BenchmarkQuestion(
        "201307251", "Is it overcast?", (tmp_path / "images/n161313.jpg",), ("no",)
    )
    replies, found = scored(benchmark, questions, "No.", "blue")
    assert found == {"accuracy": 0.5}
    assert submitted(benchmark, replies, tmp_path) == [
        {"questionId": "201307251", "prediction": "no"}, {"questionId": "201640614", "prediction": "blue"}]  # fmt: skip


def test_mp_docvqa_takes_the_page_that_the_model_is_most_sure_of(tmp_path: Path) -> None:
    files(tmp_path, *(f"images/x_p{page}.jpg" for page in range(3)))
    pages = ["x_p0", "x_p1", "x_p2"]
    rows = [
        {"questionId": 1, "question": "Who?", "doc_id": "x", "page_ids": pages, "answers": ["Ann"],
         "answer_page_idx": 2, "data_split": "val"},
        {"questionId": 2, "question": "Where?", "doc_id": "x", "page_ids": pages[:2], "answers": ["Porto"],
         "answer_page_idx": 0},
    ]  # fmt: skip
    text(tmp_path / "val.json", {"dataset_split": "val", "data": rows})
    benchmark = find_benchmark("mp-docvqa")
    questions = benchmark.read(tmp_path)
    examples = examples_of(questions, {})
    on_pages = [(one.document.name, one.question_id) for one in examples]
    assert on_pages == [("x_p0.jpg", "0"), ("x_p0.jpg", "1"), ("x_p1.jpg", "0"), ("x_p1.jpg", "1"), ("x_p2.jpg", "0")]
    said = [("Bob", 0.5), ("Porto", 0.4), ("n/a", 0.99), ("Faro", 0.9), ("Ann", 0.6)]
    rows_found = [
        measured(document=document, page=1, question_id=name, answer=answer, confidence_raw=sure)
        for (document, name), (answer, sure) in zip(on_pages, said, strict=True)
    ]
    replies = replies_of(questions, rows_found, {})
    assert [(one.answer, one.page) for one in replies] == [("Ann", 2), ("Faro", 1)]
    assert benchmark.score(replies) == {"ANLS": 0.5, "answer page": 0.5}
    assert submitted(benchmark, replies, tmp_path)[0] == {"questionId": 1, "answer": "Ann", "answer_page": 2}
    assert [one.question.id for one in replies_of(questions, rows_found[:4], {})] == [2]  # the other lacks a page


@pytest.mark.parametrize(("images", "entities", "suffix"), [("img", "entities", ".txt"), ("img", "key", ".json")])
def test_sroie(tmp_path: Path, images: str, entities: str, suffix: str) -> None:
    files(tmp_path, f"{images}/X1.jpg", f"{images}/X2.jpg")
    text(
        tmp_path / entities / f"X1{suffix}",
        {"company": "TAN", "date": "25/12/2018", "address": "2 ST", "total": "9.00"},
    )
    text(tmp_path / entities / f"X2{suffix}", {"company": "ABC", "date": "", "address": "1 RD", "total": "4.50"})
    benchmark = find_benchmark("sroie")
    questions = benchmark.read(tmp_path)
    assert [one.entity for one in questions] == ["company", "date", "address", "total"] * 2
    assert (questions[0].id, questions[0].answers, questions[5].answers) == ("X1", ("TAN",), ())
    replies, found = scored(benchmark, questions, "TAN", "25/12/2018", "3 ST", "n/a", "ABC", "1/1/2018", "1 RD", "4.50")
    precision, recall = 5 / 7, 5 / 7
    assert found == {"F1": 5 / 7, "precision": precision, "recall": recall}
    with zipfile.ZipFile(submitted(benchmark, replies, tmp_path)) as archive:
        assert archive.namelist() == ["X1.txt", "X2.txt"]
        assert json.loads(archive.read("X1.txt")) == {"company": "TAN", "date": "25/12/2018", "address": "3 ST"}


def kleister(root: Path) -> None:
    files(root, "documents/a.pdf", "documents/b.pdf")
    (root / "dev-0").mkdir()
    with lzma.open(root / "dev-0" / "in.tsv.xz", "wt", encoding="utf-8") as file:
        file.write('a.pdf\teffective_date jurisdiction party term\tsome "text\tb\tc\td\n')
        file.write("b.pdf\tjurisdiction party\tx\ty\tz\tw\n")
    lines = [
        "effective_date=2014-08-27 jurisdiction=New_York party=Foo_Inc. party=Bar_LLC term=2_years",
        "party=Ann_Lee",
    ]
    text(root / "dev-0" / "expected.tsv", "\n".join(lines) + "\n")


def test_kleister_nda(tmp_path: Path) -> None:
    kleister(tmp_path)
    benchmark = find_benchmark("kleister-nda")
    questions = benchmark.read(tmp_path)
    assert [one.entity for one in questions] == [
        "effective_date", "jurisdiction", "party", "term", "jurisdiction", "party"]  # fmt: skip
    assert questions[2].answers == ("Foo_Inc.", "Bar_LLC")
    assert questions[4].answers == ()
    assert benchmark.read(tmp_path / "dev-0") == questions
    replies, found = scored(
        benchmark, questions, "August 27, 2014", "new york", "Foo Inc.; Baz LLC", "two (2) years", "n/a", "Ann Lee"
    )
    # 5 of 6 pairs that are said are right, of 6 that are wanted; one of them only in upper case.
    assert found == {"F1": 5 / 6, "precision": 5 / 6, "recall": 5 / 6, "F1 true-cased": 4 / 6}
    lines = submitted(benchmark, replies, tmp_path).read_text().splitlines()
    assert lines == [
        "effective_date=2014-08-27 jurisdiction=new_york party=Foo_Inc. party=Baz_LLC term=2_years",
        "party=Ann_Lee",
    ]
    assert examples_of(questions, {tmp_path / "documents" / "a.pdf": 2})[4].page == 2


@pytest.mark.parametrize(
    ("said", "want"),
    [("eleven months", ["11_months"]), ("for 3 Years after", ["3_years"]), ("perpetual", ["perpetual"]), ("", [])],
)
def test_terms_are_written_as_number_and_unit(said: str, want: list[str]) -> None:
    question = BenchmarkQuestion("a.pdf", "How long?", (Path("a.pdf"),), (), entity="term")
    assert values_of(Reply(question, said, 0, False)) == want


@pytest.mark.parametrize("name", benchmark_names())
def test_what_is_missing_and_where_it_is_to_be_had_is_said(tmp_path: Path, name: str) -> None:
    benchmark = find_benchmark(name)
    with pytest.raises(UsageError, match=r"there is no such folder or file; get the benchmark from https://"):
        benchmark.read(tmp_path / "none")
    with pytest.raises(UsageError, match=r"expected .*; get it from https://"):
        benchmark.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "entry", "said"),
    [
        ("docvqa", "val_v1.0.json", {"data": [{"questionId": 1, "question": "q", "image": "a.png"}]}, "get the images"),
        ("docvqa", "val_v1.0.json", {"data": [{"questionId": 1}]}, "entry 0: question: expected a value, found"),
        ("docvqa", "val_v1.0.json", [], "expected an object with 'data'"),
        ("docvqa", "val_v1.0.json", {"data": {}}, "expected a list of questions"),
        ("docvqa", "val_v1.0.json", "{", "expected JSON"),
        (
            "vqav2",
            "v2_OpenEnded_mscoco_val2014_questions.json",
            {"questions": []},
            "v2_mscoco_val2014_annotations.json",
        ),
        ("gqa", "testdev_balanced_questions.json", {"1": {"question": "q"}}, "imageId"),
        ("mp-docvqa", "val.json", {"data": [{"questionId": 1, "question": "q", "page_ids": ["p"]}]}, "get the images"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, file: str, entry: Any, said: str) -> None:
    text(tmp_path / file, entry)
    with pytest.raises(UsageError, match=said):
        find_benchmark(name).read(tmp_path)


def test_an_image_without_its_entities_and_a_short_list_are_refused(tmp_path: Path) -> None:
    files(tmp_path, "s/img/X1.jpg", "s/key/X2.json")
    with pytest.raises(UsageError, match=r"expected X1.txt or X1.json"):
        find_benchmark("sroie").read(tmp_path / "s")
    kleister(tmp_path / "k")
    text(tmp_path / "k" / "dev-0" / "expected.tsv", "party=A\n")
    with pytest.raises(UsageError, match=r"in.tsv.xz has 2 lines, expected.tsv 1"):
        find_benchmark("kleister-nda").read(tmp_path / "k")
