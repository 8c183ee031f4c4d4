from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pymupdf
import pytest
import torch

import glimpseprune as gp
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.open_page import ModelAnswer
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild
from pipeline.questions.file import QuestionSet
from pipeline.records import Bundle, ChoiceProbability, Failure, OtherAnswer, PageCount, Receipt
from pipeline.units import make_bundles, make_units
from tests.support.bundles import with_counts
from tests.support.helpers import SETTINGS, FakePageAnswerer, page_error, questions
from tests.support.loop import run_loop
from tests.support.published import everything


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "in").mkdir()
    with pymupdf.open() as pdf:
        for shade in (0.1, 0.5, 0.9):
            page = pdf.new_page(width=300, height=300)
            page.draw_rect((0, 0, 150, 300), color=None, fill=(shade - 0.04,) * 3)  # one shade would be a blank page
            page.draw_rect((150, 0, 300, 300), color=None, fill=(shade + 0.04,) * 3)
        pdf.save(tmp_path / "in" / "a.pdf")
    (tmp_path / "in" / "b.pdf").write_bytes(b"no pdf")
    found = list_documents([str(tmp_path / "in")])
    asked = questions("id: a, text: What a", "id: b, text: What b, pages: '2', documents: 'a*'")
    counts = {
        found[0].document_id: PageCount(found[0].document_id, 3),
        found[1].document_id: PageCount(found[1].document_id, None, Failure("open", "UnsupportedDocument", "text")),
    }
    counted = with_counts(found, counts)
    units = list(make_units(counted, asked, SETTINGS))
    (made,) = make_bundles(units, counted, asked, SETTINGS)
    return made


def run(
    bundle: Bundle, page_answerer: Any, output: Path, asked: QuestionSet | None = None
) -> tuple[Receipt, list[dict[str, Any]], BundleAnswerer]:
    folder = Folder(str(output))
    store = OutputStore(folder)
    answerer = BundleAnswerer(page_answerer, store, Markers(folder))
    with RenderChild() as child:
        (receipt,) = run_loop([bundle], child, answerer, SETTINGS)
    readings = {} if asked is None else {question.id: question.reading() for question in asked.questions}
    publish(store, readings, everything(store))
    rows = pq.read_table(output / "answers").to_pylist()
    return receipt, sorted(rows, key=lambda r: (r["document"], r["page"] or 0, r["question_id"])), answerer


def test_every_row_of_a_bundle_is_answered_or_failed(bundle: Bundle, tmp_path: Path) -> None:
    receipt, rows, answerer = run(bundle, FakePageAnswerer(), tmp_path / "out")
    assert [(r["document"], r["page"], r["question_id"], r["status"]) for r in rows] == [
        ("a.pdf", 1, "a", "answered"),
        ("a.pdf", 2, "a", "answered"),
        ("a.pdf", 2, "b", "answered"),
        ("a.pdf", 3, "a", "answered"),
        ("b.pdf", None, "a", "failed"),
    ]
    assert [r["answer"].split()[0] for r in rows[:4]] == ["25.00", "127.00", "127.00", "229.00"]
    assert (receipt.pages, receipt.attempt, answerer.pages_done) == (3, 1, 3)
    assert answerer.page_started_at is None
    assert not list((tmp_path / "out" / "inflight").iterdir())
    row = rows[0]
    assert row["document_sha256"] is not None
    assert rows[4]["document_sha256"] is None
    assert (row["kept_tokens"], row["visual_tokens"], row["kv_bytes_kept"], row["decode_ms"]) == (12, 121, 50, 3.5)
    assert row["evidence"] == [
        {"x0": 0.0, "y0": 0.0, "x1": 300.0, "y1": pytest.approx(600 / 11), "score": 1.0, "page": 1}
    ]
    pages = pq.read_table(tmp_path / "out" / "pages").to_pylist()
    assert [(p["page"], p["width_px"], p["vision_ms"], p["prefix_ms"]) for p in pages] == [
        (1, 308, 1.5, None),
        (2, 308, 3.0, None),
        (3, 308, 1.5, None),
    ]
    assert pages[0]["retention_mean"] == pytest.approx(12 / 121)
    assert pages[0]["peak_rss_bytes"] > 10**7
    assert pages[0]["peak_memory_bytes"] is None  # there is no device


class Echo(FakePageAnswerer):
    """Answers every question with the words it is given, one after the other."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = list(words)

    def _answer_page(self, page: Any, asks: Any) -> list[ModelAnswer]:
        return [dataclasses.replace(made, text=self.words.pop(0)) for made in super()._answer_page(page, asks)]


def test_point_17_an_answer_that_is_no_choice_needs_review(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pymupdf.open() as pdf:
        for _ in range(4):
            pdf.new_page(width=300, height=300).draw_rect((0, 0, 200, 200), color=None, fill=(0.5,) * 3)
        pdf.save(tmp_path / "in" / "a.pdf")
    found = list_documents([str(tmp_path / "in")])
    asked = questions("id: a, text: Which, type: choice, choices: [EUR, US Dollar], aggregate: vote")
    counts = {found[0].document_id: PageCount(found[0].document_id, 4)}
    counted = with_counts(found, counts)
    units = list(make_units(counted, asked, SETTINGS))
    (made,) = make_bundles(units, counted, asked, SETTINGS)
    _, rows, _ = run(made, Echo("eur.", "euros", "n/a", " US  dollar"), tmp_path / "out", asked)
    assert [(r["status"], r["answer"], r["value"], r["value_error"]) for r in rows] == [
        ("answered", "eur.", '"EUR"', None),
        ("needs_review", "euros", None, "expected one of EUR, US Dollar, found 'euros'"),
        ("not_answerable", "n/a", None, None),
        ("answered", " US  dollar", '"US Dollar"', None),
    ]


class Surer(FakePageAnswerer):
    """Gives every answer what a fallback, another look and choices bring."""

    def _answer_page(self, page: Any, asks: Any) -> list[ModelAnswer]:
        chances = (ChoiceProbability("EUR", 0.75), ChoiceProbability("n/a", 0.125))
        more = {"choice_probabilities": chances, "fallback": "confidence", "pruned_text": "before"}
        more |= {"look": 2, "others": (OtherAnswer("at first", 0.5, 1),)}
        return [dataclasses.replace(made, **more) for made in super()._answer_page(page, asks)]


def test_probabilities_of_choices_and_a_fallback_reach_the_tables(bundle: Bundle, tmp_path: Path) -> None:
    _, rows, _ = run(bundle, Surer(), tmp_path / "out")
    answered = [row for row in rows if row["answer"] is not None]
    assert answered
    for row in rows:
        if row["answer"] is None:
            names = ("choice_probabilities", "fallback", "pruned_answer", "look", "other_answers")
            assert {row[name] for name in names} == {None}
            continue
        chances = [{"choice": "EUR", "probability": 0.75}, {"choice": "n/a", "probability": 0.125}]
        assert row["choice_probabilities"] == chances
        assert (row["fallback"], row["pruned_answer"]) == ("confidence", "before")
        assert (row["look"], row["other_answers"]) == (2, [{"answer": "at first", "confidence_raw": 0.5, "look": 1}])


def test_a_page_that_fails_costs_that_page(bundle: Bundle, tmp_path: Path) -> None:
    page_answerer = FakePageAnswerer([None, page_error(), gp.InputError("odd image")])
    _, rows, _ = run(bundle, page_answerer, tmp_path / "out")
    assert [r["status"] for r in rows] == ["answered", "failed", "failed", "failed", "failed"]
    failures = pq.read_table(tmp_path / "out" / "failures").to_pylist()
    assert sorted((f["page"] or 0, f["question_id"], f["stage"], f["error_type"]) for f in failures) == [
        (0, "a", "open", "UnsupportedDocument"),
        (2, "a", "infer", "OutOfMemory"),
        (2, "b", "infer", "OutOfMemory"),
        (3, "a", "infer", "InputError"),
    ]


class Says(FakePageAnswerer):
    """Gives one answer, whatever is asked."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def _answer_page(self, page: Any, asks: Any) -> list[ModelAnswer]:
        return [dataclasses.replace(answer, text=self.text) for answer in super()._answer_page(page, asks)]


@pytest.mark.parametrize(
    ("text", "status", "shown"),
    [("n/a", "not_answerable", False), ("", "needs_review", False), ("7", "answered", True)],
)
def test_rows_without_an_answer_carry_no_evidence(
    bundle: Bundle, tmp_path: Path, text: str, status: str, shown: bool
) -> None:
    _, rows, _ = run(bundle, Says(text), tmp_path / "out")
    assert {(r["status"], r["evidence"] is not None) for r in rows} == {(status, shown), ("failed", False)}


class Watched(FakePageAnswerer):
    """Notes when pages are made ready and when the model has them; some cannot be made ready."""

    def __init__(self, unready: dict[float, Exception] | None = None) -> None:
        super().__init__()
        self.unready = unready or {}
        self.prepared: list[tuple[float, str]] = []
        self.answered: list[tuple[float, float | None]] = []
        self.ready = threading.Semaphore(0)
        self.answerer: BundleAnswerer | None = None

    def prepare(self, page: Any, asks: Any, *_: object) -> Any:
        self.prepared.append((float(page.mean()), threading.current_thread().name))
        self.ready.release()
        if float(page.mean()) in self.unready:
            raise self.unready[float(page.mean())]
        return page, asks

    def _answer_page(self, page: Any, asks: Any) -> list[ModelAnswer]:
        assert self.answerer is not None
        began = time.monotonic()
        if self.answerer.page_started_at is not None:
            self.answered.append((began, self.answerer.page_started_at))
        while self.ready.acquire(timeout=0.1):
            pass  # whatever is made ready ahead is ready now
        return super()._answer_page(page, asks)


def watched(bundle: Bundle, page_answerer: Watched, output: Path) -> BundleAnswerer:
    folder = Folder(str(output))
    page_answerer.answerer = BundleAnswerer(page_answerer, OutputStore(folder), Markers(folder))  # type: ignore[arg-type]
    with RenderChild() as child:
        list(run_loop([bundle], child, page_answerer.answerer, SETTINGS))
    return page_answerer.answerer


def test_the_next_page_is_made_ready_meanwhile_and_its_time_does_not_run(bundle: Bundle, tmp_path: Path) -> None:
    page_answerer = Watched()
    answerer = watched(bundle, page_answerer, tmp_path / "out")
    assert [grey for grey, _ in page_answerer.prepared] == [25.0, 127.0, 229.0]
    assert all(name.startswith("docpipe-look-ahead") for _, name in page_answerer.prepared)
    assert [began - started < 0.09 for began, started in page_answerer.answered if started is not None] == [True] * 3
    starts = [started for _, started in page_answerer.answered]
    assert starts == sorted(starts)  # type: ignore[type-var]
    assert answerer.page_started_at is None
    assert not [t for t in threading.enumerate() if t.name.startswith("docpipe-look-ahead")]


def test_a_page_that_cannot_be_made_ready_costs_that_page(bundle: Bundle, tmp_path: Path) -> None:
    page_answerer = Watched({25.0: gp.InputError("odd"), 229.0: page_error()})
    watched(bundle, page_answerer, tmp_path / "out")
    store = OutputStore(Folder(str(tmp_path / "out")))
    publish(store, {}, everything(store))
    failures = pq.read_table(tmp_path / "out" / "failures").to_pylist()
    assert sorted((f["page"] or 0, f["error_type"]) for f in failures) == [
        (0, "UnsupportedDocument"),
        (1, "InputError"),
        (3, "OutOfMemory"),
    ]
    assert page_answerer.pages == 1


def test_after_a_crash_nothing_is_made_ready_ahead(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(SystemError):
        run(bundle, FakePageAnswerer([SystemError()]), tmp_path / "out")
    page_answerer = Watched()
    watched(bundle, page_answerer, tmp_path / "out")
    assert {name for _, name in page_answerer.prepared} == {threading.current_thread().name}
    assert page_answerer.pages == 3


class DeathError(BaseException):
    """Stands for the end of the process: nothing in the pipeline may catch it."""


def test_a_page_that_the_model_dies_on_is_tried_last_and_left_out_at_the_fourth_attempt(
    bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for pages, done in ((2, 0), (2, 0), (3, 2)):  # begun by the attempt, committed after it
        with pytest.raises(DeathError):
            run(bundle, page_answerer := FakePageAnswerer([None] * (pages - 1) + [DeathError()]), out)
        assert page_answerer.pages == pages
        held = OutputStore(Folder(str(out))).done()
        assert sum(len(found) for found in held.pages.values()) == done
    receipt, rows, _ = run(bundle, page_answerer := FakePageAnswerer(), out)
    assert receipt.attempt == 4
    assert page_answerer.pages == 0
    assert [r["status"] for r in rows] == ["answered", "failed", "failed", "answered", "failed"]
    failures = pq.read_table(out / "failures").to_pylist()
    assert {(f["error_type"], f["attempts"]) for f in failures if f["page"] == 2} == {("ModelCrash", 4)}


def test_a_process_that_was_killed_on_a_page_by_chance_costs_no_row(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for page in (1, 1, 2):
        with pytest.raises(DeathError):
            run(bundle, FakePageAnswerer([None] * (page - 1) + [DeathError()]), out)
    receipt, rows, _ = run(bundle, FakePageAnswerer(), out)
    assert receipt.attempt == 4
    assert [r["status"] for r in rows] == ["answered"] * 4 + ["failed"]  # the last one is no PDF


def test_a_page_that_raises_what_is_no_page_error_ends_the_bundle_once_and_then_costs_that_page(
    bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError):
        run(bundle, FakePageAnswerer([None, ZeroDivisionError("a bug")]), out)
    bugs = [ZeroDivisionError("a bug"), None, RuntimeError("two\nlines " + "and more " * 200)]
    receipt, rows, _ = run(bundle, FakePageAnswerer(bugs), out)
    assert receipt.attempt == 2
    assert [r["status"] for r in rows] == ["failed", "answered", "answered", "failed", "failed"]
    failures = {row["page"]: row for row in pq.read_table(out / "failures").to_pylist()}
    assert {failures[page]["error_type"] for page in (1, 3)} == {"ModelException"}
    assert "ZeroDivisionError: a bug (helpers.py:" in failures[1]["error_message"]
    assert "RuntimeError: two lines and more" in failures[3]["error_message"]
    assert len(failures[3]["error_message"]) < 700
    assert failures[1]["attempts"] == 2


@pytest.mark.parametrize(("again", "status"), [(None, "answered"), (torch.OutOfMemoryError("full"), "failed")])
def test_pages_for_which_memory_is_too_short_together_are_answered_one_by_one(
    bundle: Bundle, tmp_path: Path, again: Exception | None, status: str
) -> None:
    page_answerer = FakePageAnswerer([None, torch.OutOfMemoryError("full"), again])
    receipt, rows, _ = run(bundle, page_answerer, tmp_path / "out")
    assert (receipt.attempt, receipt.pages, page_answerer.pages) == (1, 3, 4)
    assert [r["status"] for r in rows] == ["answered", status, status, "answered", "failed"]
    failures = pq.read_table(tmp_path / "out" / "failures").to_pylist()
    assert {f["error_type"] for f in failures if f["page"]} == ({"OutOfMemory"} if again else set())
    assert not list((tmp_path / "out" / "inflight").iterdir())


def test_a_device_that_fails_blames_no_page_at_once(bundle: Bundle, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(torch.AcceleratorError):
            run(bundle, FakePageAnswerer([torch.AcceleratorError("unspecified launch failure")]), tmp_path / "out")
    receipt, rows, _ = run(bundle, FakePageAnswerer(), tmp_path / "out")
    assert (receipt.attempt, rows[0]["status"]) == (3, "answered")
