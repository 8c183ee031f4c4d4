from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.viewing.published import Published, read_published
from pipeline.viewing.report.figures import (
    cost,
    failure_sums,
    memory_column,
    question_sums,
    slow_documents,
    status_counts,
)
from pipeline.viewing.report.histogram import duration, histogram, percent, size
from pipeline.viewing.report.order import review_first
from tests.support.viewed import answer, failure, page, write_output


def run_of(tmp_path: Path, **given: Any) -> Published:
    return read_published(write_output(tmp_path, **given))


def test_the_order_is_that_of_a_persons_work(tmp_path: Path) -> None:
    rows = [
        answer(answer="sure", confidence=0.99),
        answer(answer="unsure", confidence=0.2),
        answer(answer="unmeasured", confidence=None),
        answer(answer="n/a", status="not_answerable", confidence=0.1),
        answer(answer=None, status="failed", confidence=None),
        answer(answer="doubt b", status="needs_review", confidence=0.9),
        answer(answer="doubt a", status="needs_review", confidence=0.3),
        answer(answer="doubt c", status="needs_review", confidence=None),
    ]
    ordered = review_first(run_of(tmp_path, answers=rows).answers)["answer"].to_pylist()
    assert ordered == ["doubt a", "doubt b", "doubt c", None, "unsure", "sure", "unmeasured", "n/a"]


def test_questions_are_summed_up_in_the_order_of_their_file(tmp_path: Path) -> None:
    rows = [
        answer(question_id="zebra", status="failed", confidence=None),
        answer(question_id="date", confidence=0.5),
        answer(question_id="total", confidence=0.25),
        answer(question_id="total", confidence=0.5),
        answer(question_id="total", status="needs_review", confidence=0.75),
    ]
    sums = question_sums(run_of(tmp_path, answers=rows))
    assert [(one.id, one.rows, dict(one.statuses)) for one in sums] == [
        ("total", 3, {"answered": 2, "needs_review": 1}),
        ("date", 1, {"answered": 1}),
        ("zebra", 1, {"failed": 1}),
    ]
    assert [one.confidence for one in sums] == [0.5, 0.5, None]


def test_failures_are_grouped_by_error(tmp_path: Path) -> None:
    failed = [failure(document_id=str(number), document=f"{number}.pdf") for number in range(20)]
    failed += [failure(document_id="0", document="0.pdf"), failure(document_id="t", error_type="RenderTimeout")]
    encrypted, late = failure_sums(run_of(tmp_path, answers=[answer()], failures=failed))
    assert (encrypted.error_type, encrypted.rows, encrypted.documents) == ("EncryptedDocument", 21, 20)
    assert encrypted.message == "it needs a password"
    assert len(encrypted.examples) == 12
    assert (late.error_type, late.documents) == ("RenderTimeout", 1)


def test_slow_documents_come_with_pages_and_seconds(tmp_path: Path) -> None:
    pages = [page(page=1), page(page=2), page(document_id="q", document="q.pdf", render_ms=9000.0, vision_ms=None)]
    found = slow_documents(run_of(tmp_path, answers=[answer()], pages=pages))
    assert found == [("q.pdf", 1, pytest.approx(9.03)), ("a.pdf", 2, pytest.approx(0.17))]


@pytest.mark.parametrize(
    ("run", "hours", "words"),
    [
        ({"wall_s": 7200.0, "this_run": {"rows": 2}}, 2.0, "The run took 2 h 00 min"),
        ({"wall_s": 3600.0, "this_run": {"rows": 1}}, 2.0, "The last run answered 1 rows in 1 h 00 min"),
        ({"wall_s": 5.0, "this_run": {"rows": 0}}, (60 + 100) / 3.6e6, "Rendering and the model took 0.16 s"),
        ({}, (60 + 100) / 3.6e6, "Rendering and the model took 0.16 s"),
    ],
)
def test_cost_is_of_all_rows(tmp_path: Path, run: dict[str, Any], hours: float, words: str) -> None:
    found = cost(run_of(tmp_path, answers=[answer(), answer(question_id="date")], pages=[page()], run=run))
    assert found is not None
    assert found.hours == pytest.approx(hours)
    assert found.basis.startswith(words)
    assert (found.documents, found.pages, found.rows) == (1, 1, 2)


def test_no_time_no_cost(tmp_path: Path) -> None:
    assert cost(run_of(tmp_path, answers=[answer(prefill_ms=None, decode_ms=None)])) is None


def test_rows_that_an_interrupted_run_has_not_come_to_are_counted(tmp_path: Path) -> None:
    counts = status_counts(run_of(tmp_path, answers=[answer()], run={"counts": {"planned": 5}}))
    assert (counts["answered"], counts["pending"], counts.total()) == (1, 4, 5)


def test_memory_is_that_of_the_gpu_where_there_was_one(tmp_path: Path) -> None:
    title, column = memory_column(run_of(tmp_path / "cpu", answers=[answer()], pages=[page()]))
    assert (title[:24], column.to_pylist()) == ("Peak memory of the proce", [900_000_000])
    title, column = memory_column(run_of(tmp_path / "gpu", answers=[answer()], pages=[page(peak_memory_bytes=5)]))
    assert (title, column.to_pylist()) == ("Peak GPU memory per page", [5])


def test_a_histogram_counts_each_measurement_once() -> None:
    values = [0.0, 0.1, 0.1, 0.5, 1.0, None, float("nan"), 40.0]
    made = histogram("share", pa.chunked_array([values], pa.float64()), percent, 1.0)
    assert made is not None
    assert sum(made.counts) == 6
    assert (made.counts[0], made.counts[-1], made.ends) == (1, 2, ("0.0 %", "100.0 %"))
    assert made.sentence == "Half are at most 30.0 %, nine in ten at most 2050.0 %, the most is 4000.0 %."
    assert histogram("none", pa.chunked_array([[None]], pa.float64()), percent) is None
    same = histogram("same", pa.chunked_array([[5, 5]], pa.int64()), size)
    assert same is not None
    assert sum(same.counts) == 2


def test_sizes_and_times_in_words() -> None:
    assert [size(count) for count in (0, 999, 1500, 2.5e6, 3e9)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "2.5 MB",
        "3.0 GB",
    ]
    assert [duration(s) for s in (0.1234, 9.9, 42.4, 90, 7260)] == ["0.12 s", "9.9 s", "42 s", "2 min", "2 h 01 min"]


def test_skipped_rows_are_apart_from_those_that_are_not_done(tmp_path: Path) -> None:
    rows = [answer(), answer(page=2, status="skipped", answer=None)]
    counts = status_counts(run_of(tmp_path, answers=rows, run={"counts": {"planned": 5}}))
    assert (counts["answered"], counts["skipped"], counts["pending"]) == (1, 1, 3)
