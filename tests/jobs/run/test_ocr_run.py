"""``--ocr`` in whole runs: what it fills, that a folder keeps to it, and what is said where it is not installed."""

from __future__ import annotations

from dataclasses import astuple
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pyarrow.parquet as pq
import pymupdf
import pytest

from jobs.model_choice import ModelChoice
from jobs.run.job import run_job
from jobs.run.prepare import reproduce_command
from jobs.settings import RunSettings
from pipeline.errors import SettingsChangedError, UsageError
from pipeline.questions.file import parse_questions
from pipeline.records import PageImage
from pipeline.samples import make_sample
from pipeline.words import Words

QUESTIONS = parse_questions("version: 1\nquestions: [{id: total, text: 'What is the total?'}]\n", "q.yaml")
SAMPLE = make_sample(4)
(TOTAL,) = (field for field in SAMPLE.fields if field.key == "total")


class Read:
    """Stands for OCR that reads the total alone."""

    def words(self, page: PageImage) -> Words | None:
        return Words(TOTAL.value, astuple(TOTAL.value_box) * len(TOTAL.value.split()))


@pytest.fixture
def run(tmp_path: Path) -> RunSettings:
    with pymupdf.open("pdf", SAMPLE.pdf()) as written, pymupdf.open() as scanned:
        size = written[0].rect
        page = scanned.new_page(width=size.width, height=size.height)
        page.insert_image(size, pixmap=written[0].get_pixmap(dpi=144))
        scanned.save(tmp_path / "a.pdf")
    files = {"input": (str(tmp_path / "a.pdf"),), "questions": "q.yaml", "output": str(tmp_path / "out")}
    choice = ModelChoice(device="cpu", dtype="float32")
    return RunSettings(**files, choice=choice, engine="local", quiet=True, ocr=True)


def test_a_page_without_a_text_layer_has_on_page(run: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.run.prepare.ocr_release", lambda: "rapidocr 3")
    monkeypatch.setattr("pipeline.pages.bundle_pages.ocr_reader", Read)
    report = run_job(run, QUESTIONS)
    assert report["answer_settings"]["ocr"] == "rapidocr 3"
    (row,) = pq.read_table(Path(run.output, "answers")).to_pylist()
    found = row["answer"], row["on_page"], row["evidence_source"], row["evidence_text"]
    assert found == (TOTAL.value, True, "text", TOTAL.value)
    assert "--ocr" in reproduce_command(run, QUESTIONS).split()
    without = run.model_copy(update={"ocr": False})
    with pytest.raises(SettingsChangedError, match="--ocr was rapidocr 3, is not set"):
        run_job(without, QUESTIONS)
    run_job(without.model_copy(update={"output": f"{run.output}-without"}), QUESTIONS)
    (row,) = pq.read_table(f"{run.output}-without/answers").to_pylist()
    assert (row["answer"], row["on_page"], row["evidence_source"]) == (TOTAL.value, None, "attention")


def test_a_run_without_the_package_asks_nothing(run: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("pipeline.pages.ocr.version", version)
    with pytest.raises(UsageError, match="install docpipe with its extra 'ocr'"):
        run_job(run, QUESTIONS)
