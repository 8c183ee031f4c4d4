"""What people corrected in a run is a data set for `docpipe eval` and `docpipe calibrate`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.commands.evaluate import EvalSettings, evaluate
from jobs.run.job import run_job
from jobs.settings import RunSettings
from pipeline.datasets.example import Example
from pipeline.datasets.load import load_examples
from pipeline.errors import UsageError
from pipeline.output.folder import Folder
from pipeline.output.reviews import add_reviews
from pipeline.questions.file import parse_questions
from tests.support.colours import WHITE, make_pdf

ASKED = parse_questions(
    """
version: 1
defaults: {locale: de_DE, max_new_tokens: 2}
questions:
  - {id: total, text: "What is the total?", type: money, constrain: false}
  - {id: paid, text: "How was it paid?", type: choice, choices: [cash, card], prompt: "Cash or card? {text}"}
  - {id: both, text: "What is on both?", pages: 1+2}
""",
    "q.yaml",
)
SAID = {("total", 2): "1.903,88 EUR", ("total", 1): "n/a", ("paid", 1): "card", ("both", 1): "seven"}


def corrected(tmp_path: Path, tiny_base: Path, said: dict[tuple[str, int], str]) -> dict[str, Any]:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    make_pdf(tmp_path / "in" / "sub" / "a.pdf", [WHITE, (9, 9, 9), (90, 0, 0)])
    given = {
        "input": (str(tmp_path / "in"),),
        "questions": "q.yaml",
        "output": str(tmp_path / "out"),
        "model": str(tiny_base),
        "max_visual_tokens": 16,
        "engine": "local",
        "quiet": True,
    }
    run_job(RunSettings(**given), ASKED)
    folder = Folder(given["output"])  # type: ignore[arg-type]
    rows = pq.read_table(tmp_path / "out" / "answers").to_pylist()
    names = ("unit_id", "document_id", "document", "page", "question_id", "answer")
    reviews = [
        {**{name: row[name] for name in names}, "reviewed_answer": said[key], "comment": None, "reviewer": "ada"}
        for row in rows
        if (key := (row["question_id"], row["page"])) in said
    ]
    assert len(reviews) == len(said)
    if reviews:
        add_reviews(folder, reviews)
    return given


def told(example: Example) -> tuple[object, ...]:
    return example.page, example.question_id, example.answers, example.answerable, example.type


def test_corrections_are_examples_with_the_prompts_and_readings_of_their_questions(
    tmp_path: Path, tiny_base: Path
) -> None:
    corrected(tmp_path, tiny_base, SAID)
    examples = load_examples(tmp_path / "out")
    assert [told(example) for example in examples] == [
        (1, "paid", ("card",), True, "choice"),
        (1, "total", ("n/a",), False, "money"),
        (2, "total", ("1.903,88 EUR",), True, "money"),
    ]
    assert {example.document for example in examples} == {tmp_path / "in" / "sub" / "a.pdf"}
    assert examples[0].prompt == "Cash or card? How was it paid?"
    assert (examples[0].read_as.choices, examples[2].read_as.locale) == (("cash", "card"), "de_DE")

    rows = evaluate(
        EvalSettings(
            data=str(tmp_path / "out"),
            out=tmp_path / "eval.parquet",
            compare=("off",),
            model=str(tiny_base),
            max_visual_tokens=16,
            max_new_tokens=2,
            quiet=True,
        )
    )
    assert [(row.question_id, row.page, row.gold) for row in rows] == [
        ("paid", 1, ("card",)),
        ("total", 1, ("n/a",)),
        ("total", 2, ("1.903,88 EUR",)),
    ]


def test_documents_that_moved_are_named_and_changed_ones_refused(tmp_path: Path, tiny_base: Path) -> None:
    corrected(tmp_path, tiny_base, SAID)
    shutil.move(tmp_path / "in", tmp_path / "elsewhere")
    with pytest.raises(
        UsageError, match=r"sub/a\.pdf: is not where the run found it; name the folder .* with --images"
    ):
        load_examples(tmp_path / "out")
    examples = load_examples(tmp_path / "out", tmp_path / "elsewhere")
    assert {example.document for example in examples} == {tmp_path / "elsewhere" / "sub" / "a.pdf"}
    (tmp_path / "elsewhere" / "sub" / "a.pdf").write_bytes(b"%PDF-1.4 other")
    with pytest.raises(UsageError, match="has changed since its answers were corrected"):
        load_examples(tmp_path / "out", tmp_path / "elsewhere")


def test_a_run_that_nobody_corrected_is_refused(tmp_path: Path, tiny_base: Path) -> None:
    corrected(tmp_path, tiny_base, {})
    with pytest.raises(UsageError, match="expected corrections of answers about single pages, found none"):
        load_examples(tmp_path / "out")
