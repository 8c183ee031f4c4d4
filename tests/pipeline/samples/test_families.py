"""The families kept apart from training: what they draw is printed where they say, and nobody is asked unfairly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pymupdf
import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from pipeline.samples import Sample, ask, make_sample
from pipeline.samples.families import FAMILIES
from pipeline.samples.fields import FIELD_OF_KEY
from pipeline.samples.opened import overlap

NAMES = sorted(FAMILIES)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes(name: str) -> None:
    sample = make_sample(4, FAMILIES[name])
    assert sample.pdf() == make_sample(4, FAMILIES[name]).pdf()
    assert ask(sample, 1, 2) == ask(make_sample(4, FAMILIES[name]), 1, 2)


def test_the_known_family_is_what_it_was() -> None:
    told = hashlib.sha256()
    for seed in range(20):
        sample = make_sample(seed)
        told.update(repr([(q.text, q.answer, q.key) for q in ask(sample, seed, 3)]).encode())
    assert told.hexdigest()[:16] == "f4760a7bc91f394b"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "foreign"])
def test_every_value_is_real_text_inside_its_box(name: str) -> None:
    for seed in range(6):
        sample = make_sample(seed, FAMILIES[name])
        with pymupdf.open(stream=sample.pdf()) as document:
            for field in sample.fields:
                box = field.value_box
                middle = (box.y0 + box.y1) / 2
                clip = pymupdf.Rect(box.x0 - 1, middle - 0.5, box.x1 + 1, middle + 0.5)
                printed = document[0].get_textbox(clip)
                assert "".join(printed.split()) == "".join(field.value.split())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "foreign"])
def test_characters_stand_where_the_pdf_says(name: str) -> None:
    sample = make_sample(2, FAMILIES[name])
    with pymupdf.open(stream=sample.pdf()) as document:
        blocks = document[0].get_text("rawdict")["blocks"]
    printed = sorted(
        (c["c"], round((c["bbox"][0] + c["bbox"][2]) / 2, 1))
        for b in blocks if "lines" in b for line in b["lines"] for s in line["spans"] for c in s["chars"]
        if not c["c"].isspace()
    )  # fmt: skip
    ours = sorted((c.char, round(c.x, 1)) for run in sample.runs for c in run.characters() if not c.char.isspace())
    assert [c for c, _ in printed] == [c for c, _ in ours]
    assert all(abs(a[1] - b[1]) < 0.5 for a, b in zip(printed, ours, strict=True))


def test_labels_of_one_page_cannot_be_mistaken() -> None:
    opened = 0
    for seed in range(40):
        sample = make_sample(seed, FAMILIES["labels"])
        names = {f.key: [f.label] for f in sample.fields}
        opened += sum(key not in FIELD_OF_KEY for key in names)
        for question in ask(sample, seed, 3):
            if question.answer == "n/a":
                assert not any(_names(question.text, f.label) for f in sample.fields)
        _check_labels(sample)
    assert opened > 100


def _check_labels(sample: Sample) -> None:
    opened = [f.label for f in sample.fields if f.key not in FIELD_OF_KEY]
    for i, label in enumerate(opened):
        assert not any(overlap(label, other) for other in opened[:i])


def _names(question: str, label: str) -> bool:
    return label.lower() in question.lower().replace("?", "").replace("what is ", "").replace("the ", "").split(" / ")


def test_a_page_of_no_kind_answers_nothing() -> None:
    for seed in range(12):
        sample = make_sample(seed, FAMILIES["foreign"])
        assert {q.answer for q in ask(sample, seed, 4)} == {"n/a"}
        assert sample.pdf()


@pytest.mark.parametrize("name", NAMES)
def test_the_command_draws_a_family(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["samples", "--out", str(tmp_path), "--documents", "2", "--family", name])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(row["questions"] for row in rows)


def test_the_command_refuses_another_family(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["samples", "--out", str(tmp_path), "--family", "novels"])
    assert result.exit_code == 2
    assert "known, open" in result.output
