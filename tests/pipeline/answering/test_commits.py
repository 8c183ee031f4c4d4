"""Parts follow time: whatever ends a process, little finished work is lost, and no row is lost or doubled."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.commits import COMMIT_SECONDS, Commits
from pipeline.answering.open_page import ModelAnswer
from pipeline.errors import EngineError
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.records import Bundle, Document, Failure, PageCount, PageFailure, PageImage, Receipt, RenderedBundle
from pipeline.results import BundleResult
from pipeline.units import make_bundles, make_units
from tests.support.bundles import result_of, units_and_bundles
from tests.support.helpers import SETTINGS, FakePageAnswerer, questions
from tests.support.published import everything

PAGES = 7
BROKEN = 3  # cannot be rendered
ASKED = questions("id: a, text: What a", "id: b, text: What b, pages: '2,5-7'")
VOLATILE = ("peak_rss_bytes", "run_id", "answered_at")


class DeathError(BaseException):
    """Stands for the end of the process: nothing in the pipeline may catch it."""


class Slow(FakePageAnswerer):
    """Each page takes some seconds of a clock that stands still otherwise; what happens on a page can be told."""

    def __init__(self, seconds: Callable[[], float], on_page: Callable[[int], None] = lambda page: None) -> None:
        super().__init__()
        self.seconds = seconds
        self.on_page = on_page
        self.now = 0.0

    def _answer_page(self, page: Any, asks: Any) -> list[ModelAnswer]:
        self.on_page(int(page[0, 0, 0]))
        self.now += self.seconds()
        return super()._answer_page(page, asks)


class Work:
    """A document of ``PAGES`` pages and one that cannot be opened, without files to render."""

    def __init__(self, output: Path) -> None:
        self.folder = Folder(str(output))
        self.store = OutputStore(self.folder)
        self.documents = [Document("d", "d.pdf", "/d.pdf", 1, "1"), Document("e", "e.pdf", "/e.pdf", 1, "1")]
        unopened = PageCount("e", None, Failure("open", "EncryptedDocument", "locked"))
        self.counted = list(zip(self.documents, [PageCount("d", PAGES), unopened], strict=True))
        self.units = list(make_units(self.counted, ASKED, SETTINGS))

    def bundles(self) -> list[Bundle]:
        return list(make_bundles(self.store.done().left(self.units), self.counted, ASKED, SETTINGS))

    def run(self, page_answerer: Slow) -> list[Receipt]:
        answerer = BundleAnswerer(page_answerer, self.store, Markers(self.folder), lambda: page_answerer.now)  # type: ignore[arg-type]
        return [answerer.run(rendered(bundle)) for bundle in self.bundles()]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        publish(self.store, {}, everything(self.store))
        found = {}
        for name in ("answers", "pages", "failures", "documents"):
            rows = pq.read_table(Path(self.folder.uri, name)).to_pylist()
            rows = [{key: value for key, value in row.items() if key not in VOLATILE} for row in rows]
            found[name] = sorted(rows, key=lambda r: (r["document_id"], r.get("page") or 0, r.get("question_id", "")))
        return found


def rendered(bundle: Bundle) -> RenderedBundle:
    """Pages whose grey is their number."""
    pages = [page for page in bundle.pages_of("d") if page != BROKEN]
    images = [
        PageImage("d", page, 28.0, 28.0, 72.0, 28, 28, 1, 1.0, "raw", bytes([page] * 28 * 28 * 3)) for page in pages
    ]
    failures = [PageFailure("d", BROKEN, Failure("render", "RenderCrash", "x"))] * (BROKEN in bundle.pages_of("d"))
    return RenderedBundle(bundle, tuple(images), tuple(failures), {"d": "sha"})


def ending(error: type[BaseException], page: int) -> Callable[[int], None]:
    def on_page(number: int) -> None:
        if number == page:
            raise error

    return on_page


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    work = Work(tmp_path / "uninterrupted")
    assert len(work.run(Slow(lambda: 0.0))) == 1
    assert len(work.store.parts()) == 1
    tables = work.tables()
    assert len(tables["answers"]) == PAGES + 4 + 2
    return tables


@pytest.mark.parametrize("seconds", [4.0, 30.0])
@pytest.mark.parametrize("error", [KeyboardInterrupt, DeathError])
def test_resumed_equals_uninterrupted_after_any_page(
    tmp_path: Path, expected: dict[str, list[dict[str, Any]]], seconds: float, error: type[BaseException]
) -> None:
    for page in range(1, PAGES + 1):
        if page == BROKEN:
            continue
        work = Work(tmp_path / str(page))
        with pytest.raises(error):
            work.run(first := Slow(lambda: seconds, ending(error, page)))
        if error is KeyboardInterrupt:
            Markers(work.folder).clear()  # as the run does, which stopped on purpose
        if page == PAGES:
            half = work.tables()["answers"]
            assert half
            assert all(row in expected["answers"] for row in half)
        second = Slow(lambda: seconds)
        (receipt,) = work.run(second)
        assert receipt.attempt == (1 if error is KeyboardInterrupt else 2)
        assert work.tables() == expected
        if error is KeyboardInterrupt:
            assert first.pages + second.pages == PAGES - 1  # the finished pages were not asked again
        assert work.run(Slow(lambda: seconds)) == []


def test_no_more_than_20_s_of_finished_work_is_lost(tmp_path: Path) -> None:
    rng = random.Random(2)
    lost: list[float] = []
    for number in range(15):
        times = [rng.choice([0.1, 3.0, 9.0, 12.0, 45.0]) for _ in range(PAGES)]
        work = Work(tmp_path / str(number))
        page = rng.choice([page for page in range(2, PAGES + 1) if page != BROKEN])
        slow = Slow(iter(times).__next__, ending(DeathError, page))
        with pytest.raises(DeathError):
            work.run(slow)
        again = Slow(lambda: 0.0)
        work.run(again)
        unsaved = again.pages - (PAGES - 1 - slow.pages)
        lost.append(sum(times[slow.pages - unsaved : slow.pages]))
    assert 0 < max(lost) < COMMIT_SECONDS < 20


def test_quick_work_is_one_part_and_slow_work_one_at_least_every_20_s(tmp_path: Path) -> None:
    for seconds, parts in ((1.0, 1), (3.0, 2), (9.9, 3), (30.0, 6)):
        work = Work(tmp_path / str(seconds))
        work.run(Slow(lambda seconds=seconds: seconds))  # type: ignore[misc]
        assert len(work.store.parts()) == parts
        assert parts >= (PAGES - 1) * min(seconds, 20) // 20


def test_a_page_that_kills_the_process_is_left_out_of_the_fourth_run_though_others_were_committed(
    tmp_path: Path, expected: dict[str, list[dict[str, Any]]]
) -> None:
    work = Work(tmp_path / "out")
    parts = []
    for _ in range(3):
        with pytest.raises(DeathError):
            work.run(Slow(lambda: 15.0, ending(DeathError, 6)))
        parts.append(len(work.store.parts()))
    assert 1 < parts[0] == parts[1] < parts[2]  # the third attempt commits all other pages before it tries page 6
    (receipt,) = work.run(last := Slow(lambda: 15.0, ending(DeathError, 6)))
    assert (receipt.attempt, last.pages) == (4, 0)
    tables = work.tables()
    crashed = [(row["page"], row["attempts"]) for row in tables["failures"] if row["error_type"] == "ModelCrash"]
    assert crashed == [(6, 4)] * 2
    others = [row for row in tables["answers"] if row["page"] != 6]
    assert others == [row for row in expected["answers"] if row["page"] != 6]


def test_an_attempt_in_the_same_run_leaves_out_what_the_one_before_committed(
    tmp_path: Path, expected: dict[str, list[dict[str, Any]]]
) -> None:
    work = Work(tmp_path / "out")
    (bundle,) = work.bundles()
    with pytest.raises(DeathError):
        work.run(Slow(lambda: 15.0, ending(DeathError, 6)))
    again = Slow(lambda: 15.0)
    answerer = BundleAnswerer(again, work.store, Markers(work.folder), lambda: again.now)  # type: ignore[arg-type]
    receipt = answerer.run(rendered(bundle))  # whole, as an engine gives it to another actor
    assert (receipt.attempt, receipt.pages, again.pages, answerer.pages_done) == (2, PAGES, 2, PAGES)
    assert work.tables() == expected


def test_a_worker_that_outlives_its_run_doubles_and_loses_nothing(
    tmp_path: Path, expected: dict[str, list[dict[str, Any]]]
) -> None:
    for page in (2, 5, 7):
        work = Work(tmp_path / str(page))
        (whole,) = work.bundles()
        with pytest.raises(DeathError):
            work.run(Slow(lambda: 15.0, ending(DeathError, page)))
        old = BundleAnswerer(
            FakePageAnswerer(),  # type: ignore[arg-type]
            OutputStore(work.folder),
            Markers(Folder(str(tmp_path / f"markers-{page}"))),
            itertools.count(0, 4).__next__,
        )
        if page == 5:
            work.tables()
        work.run(Slow(lambda: 7.0))
        old.run(rendered(whole))
        assert work.tables() == expected


def part_of(bundle: Bundle, pages: Sequence[int]) -> BundleResult:
    units = [dataclasses.replace(unit, pages=tuple(p for p in unit.pages if p in pages)) for unit in bundle.units]
    return result_of(dataclasses.replace(bundle, units=tuple(unit for unit in units if unit.pages)))


def test_a_row_that_is_missing_or_comes_twice_is_refused_across_parts(tmp_path: Path) -> None:
    _, [bundle] = units_and_bundles([4])
    first, again = part_of(bundle, [1, 2]), part_of(bundle, [2, 3])

    def committed(name: str) -> Commits:
        commits = Commits(OutputStore(Folder(str(tmp_path / name))), bundle, {})
        commits.add(first.answers)
        commits.commit()
        return commits

    commits = committed("twice")
    commits.add(again.answers)
    with pytest.raises(EngineError, match="1 too many"):
        commits.commit()
    commits = committed("missing")
    commits.add(part_of(bundle, [3]).answers)
    with pytest.raises(EngineError, match="1 missing"):
        commits.finish()
    commits = committed("whole")
    commits.add(part_of(bundle, [3, 4]).answers)
    commits.finish()
    commits.commit()
    done = OutputStore(Folder(str(tmp_path / "whole"))).done()
    assert [done.left_of(unit) for unit in bundle.units] == [None, None]
    assert done.units == {unit.unit_id for unit in bundle.units if unit.question_id == "date"}
