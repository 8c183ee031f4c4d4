"""Whole runs of the tiny model: what a plain loop gives, resumed, with one question more, with failures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pymupdf
import pytest

from jobs.run.job import run_job
from jobs.run.prepare import count_pages, prepare_work
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.pages.documents import list_documents
from pipeline.pages.passwords import Passwords
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import QuestionSet, parse_questions
from pipeline.records import PageCount
from pipeline.scratch import Scratch
from tests.support.helpers import assert_alike
from tests.support.loop import run_loop
from tests.support.published import everything

Finished = tuple[RunSettings, dict[str, Any]]

TIMINGS = (
    *("prefill_ms", "decode_ms", "prefix_ms", "render_ms", "vision_ms", "peak_rss_bytes"),
    *("bundle_id", "run_id", "answered_at"),
)
QUESTIONS = """\
version: 1
defaults: {max_new_tokens: 6}
questions:
  - {id: total, text: "What is the total?", pages: "1,-1"}
  - {id: name, text: "Whose is it?", keep: {max_ratio: 0.3}}
"""


def questions(extra: str = "") -> QuestionSet:
    return parse_questions(QUESTIONS + extra, "q.yaml")


@pytest.fixture(scope="module")
def pdfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pdfs")
    for number, pages in enumerate((1, 2, 34, 3)):
        with pymupdf.open() as pdf:
            for page in range(pages):
                pdf.new_page(width=200, height=300).insert_text((20, 50), f"document {number} page {page}", fontsize=20)
            pdf.save(folder / f"d{number}.pdf")
    (folder / "broken.pdf").write_bytes(b"no pdf at all")
    return folder


@pytest.fixture(scope="module")
def finished(pdfs: Path, tiny_base: Path, tiny_addon: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The settings and the report of a whole run."""
    settings = RunSettings(
        input=(str(pdfs),),
        questions="q.yaml",
        output=str(tmp_path_factory.mktemp("finished") / "out"),
        model=str(tiny_base),
        glimpse=str(tiny_addon),
        dpi=72,
        quiet=True,
    )
    return settings, run_job(settings, questions())


@pytest.fixture
def settings(finished: Finished, tmp_path: Path) -> RunSettings:
    """The settings of that run, with a copy of its output folder."""
    return finished[0].model_copy(update={"output": str(shutil.copytree(finished[0].output, tmp_path / "out"))})


def rows(output: str | Path, table: str = "answers", drop: Sequence[str] = TIMINGS) -> list[dict[str, Any]]:
    found = pq.read_table(Path(output) / table).to_pylist()
    kept = [{key: value for key, value in row.items() if key not in drop} for row in found]
    return sorted(kept, key=lambda r: (r["document"], r.get("page") or 0, r.get("question_id", "")))


def test_a_run_gives_the_rows_of_the_plain_loop(finished: Finished, tmp_path: Path) -> None:
    settings, report = finished
    assert report["exit_code"] == 0
    assert report["counts"]["planned"] == 47 + 2 == sum(v for k, v in report["counts"].items() if k != "planned")
    assert report["counts"]["failed"] == 2

    folder = Folder(str(tmp_path / "loop"))
    store = OutputStore(folder)
    scratch = Scratch()
    work = prepare_work(settings, questions(), store, scratch, Passwords(), remember=False)
    page_answerer = PageAnswerer.load(settings.choice.model, settings.choice.glimpse, "cpu", "auto", "auto", 0)
    bundles = list(work.index.pending(store.completed(scratch)).bundles())
    assert len(bundles) > 1
    with RenderChild() as child:
        receipts = list(run_loop(bundles, child, BundleAnswerer(page_answerer, store, Markers(folder)), work.settings))
    publish(store, {}, everything(store))
    assert len(receipts) == len(bundles) == report["this_run"]["bundles"]
    for table in ("answers", "pages", "documents"):
        by_loop, by_run = rows(tmp_path / "loop", table), rows(settings.output, table)
        assert_alike(by_loop, by_run)
        assert len(by_loop) > 5
    skipped = (*TIMINGS, "command")
    assert rows(tmp_path / "loop", "failures", skipped) == rows(settings.output, "failures", skipped)


def test_a_run_resumes_from_what_is_committed(finished: Finished, settings: RunSettings) -> None:
    first = finished[1]
    before = rows(settings.output, drop=())
    again = run_job(settings, questions())
    assert again["this_run"]["bundles"] == 0
    assert again["counts"] == first["counts"]
    assert rows(settings.output, drop=()) == before

    parts = sorted(Path(settings.output, "parts").iterdir())
    lost = set(OutputStore(Folder(settings.output)).parts()[parts[0].stem].units)
    parts[0].unlink()
    for table in ("answers", "pages", "failures"):
        for file in Path(settings.output, table).iterdir():
            file.unlink()
    healed = run_job(settings, questions())
    assert healed["this_run"]["bundles"] == 1
    assert healed["counts"] == first["counts"]
    after = rows(settings.output, drop=())
    assert [r["unit_id"] for r in after] == [r["unit_id"] for r in before]
    same = [r for r in after if r["unit_id"] not in lost]
    assert same == [r for r in before if r["unit_id"] not in lost]
    assert rows(settings.output) == [{k: v for k, v in r.items() if k not in TIMINGS} for r in before]


def test_a_new_question_is_answered_without_asking_the_others_again(finished: Finished, settings: RunSettings) -> None:
    first = finished[1]
    before = {r["unit_id"]: r for r in rows(settings.output, drop=())}
    more = questions('  - {id: date, text: "When?", pages: "1"}\n')
    second = run_job(settings, more)
    assert second["counts"]["planned"] == first["counts"]["planned"] + 5
    assert second["this_run"]["rows"] == 5
    after = {r["unit_id"]: r for r in rows(settings.output, drop=())}
    assert before.items() <= after.items()


def test_too_many_failures_are_exit_code_1(settings: RunSettings) -> None:
    report = run_job(settings.model_copy(update={"max_failed_share": 0.01}), questions())
    assert report["exit_code"] == 1
    run = json.loads(Path(settings.output, "run.json").read_text())
    assert run["exit_code"] == 1
    assert run["failed_share"] == pytest.approx(2 / 49)
    (failure, _) = rows(settings.output, "failures", drop=())
    assert failure["command"].startswith(
        f"docpipe run --input {settings.input[0]}/broken.pdf --questions q.yaml --model "
    )


def test_pages_are_counted_in_parallel_and_in_full(pdfs: Path) -> None:
    found = list_documents([str(pdfs)])
    counts: dict[str, PageCount] = {}
    calls: list[int] = []
    count_pages(found, counts, lambda: calls.append(1))
    assert len(calls) == len(found)
    assert {d.path: counts[d.document_id].pages for d in found} == {
        "broken.pdf": None,
        "d0.pdf": 1,
        "d1.pdf": 2,
        "d2.pdf": 34,
        "d3.pdf": 3,
    }
