"""When a night is unlike the nights before it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.errors import UsageError
from pipeline.output.drift import Thresholds, drifts
from pipeline.output.folder import Folder
from pipeline.output.night_figures import compared, figures_of, listing_of
from pipeline.output.nights import Night, changed_content, last_listing, read_nights, write_night
from pipeline.output.schema import LISTING
from pipeline.scratch import Scratch
from tests.support.published import published, results_for, store_at, tables

NOTHING: dict[str, Any] = {
    "run_id": "20261126T220000-00000000",
    "started_at": datetime(2026, 11, 26, 22, tzinfo=UTC),
    "finished_at": datetime(2026, 11, 27, 4, tzinfo=UTC),
    "wall_s": 21_600.0,
    "exit_code": 0,
    "error": None,
    "documents": 10,
    **dict.fromkeys(("new_documents", "changed_documents", "deleted_documents")),
    "questions": {"a": "1"},
    **{f"{kind}_questions": [] for kind in ("new", "reworded", "gone")},
    "rows": 1000,
    "pending": 0,
    **{name: {} for name in ("statuses", "failures", "review_reasons")},
    **dict.fromkeys(("failed_share", "review_share", "retention", "confidence", "confidence_raw", "pages_per_s")),
}
LIMITS = Thresholds(failed=0.02, review=0.1, retention=0.05, confidence=0.05)


def night(**given: Any) -> Night:
    return Night.model_validate({**NOTHING, **given})


@pytest.mark.parametrize(
    ("field", "before", "now", "drifted"),
    [
        ("failed_share", 0.01, 0.031, True),
        ("failed_share", 0.01, 0.029, False),
        ("failed_share", 0.5, 0.0, False),
        ("review_share", 0.1, 0.21, True),
        ("review_share", 0.9, 0.1, False),
        ("retention", 0.1, 0.16, True),
        ("retention", 0.1, 0.04, True),
        ("retention", 0.1, 0.14, False),
        ("confidence", 0.9, 0.84, True),
        ("confidence", 0.9, 0.99, False),
        ("confidence_raw", 0.9, 0.84, True),
        ("retention", None, 0.5, False),
        ("retention", 0.5, None, False),
    ],
)
def test_each_measure_drifts_in_its_bad_way(field: str, before: float | None, now: float | None, drifted: bool) -> None:
    told = drifts(night(**{field: now}), [night(**{field: before})], LIMITS)
    assert len(told) == drifted
    if drifted:
        assert f"was {before:.3f}, is {now:.3f}: {now - before:+.3f}, where " in told[0]  # type: ignore[operator]


def test_nights_count_by_their_answers_and_small_ones_not_at_all() -> None:
    before = [night(retention=0.9), night(retention=0.1, rows=3000), night(retention=0.3), night(retention=1, rows=99)]
    (told,) = drifts(night(retention=0.25), before, LIMITS.model_copy(update={"nights": 2}))
    assert told.startswith("mean retention was 0.150, is 0.250")
    assert drifts(night(retention=0.25), [night(retention=0.9, rows=99)], LIMITS) == []
    assert drifts(night(retention=0.25, rows=99), [night(retention=0.9)], LIMITS) == []
    assert drifts(night(retention=0.25), [], LIMITS) == []


def test_thresholds_are_checked() -> None:
    with pytest.raises(ValidationError):
        Thresholds(failed=2)
    with pytest.raises(ValidationError):
        Thresholds.model_validate({"unknown": 1})


def test_what_changed_in_questions() -> None:
    assert changed_content({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}) == (["d"], ["b"], ["c"])


def listing(**documents: str) -> pa.Table:
    rows = [{"document_id": key, "document": path} for key, path in documents.items()]
    return pa.Table.from_pylist(rows, schema=LISTING)


def changes(before: pa.Table, now: pa.Table) -> tuple[int, int, int]:
    with Scratch() as scratch:
        return compared(scratch, [before.slice(0, 1), before.slice(1)], [now])


def test_what_changed_in_documents() -> None:
    before = listing(a="a.pdf", b="b.pdf", c="c.pdf", d="d.pdf")
    now = listing(a="a.pdf", b2="b.pdf", e="e.pdf", f="f.pdf")
    assert changes(before, now) == (2, 1, 2)
    assert changes(before, before) == (0, 0, 0)
    assert changes(LISTING.empty_table(), before) == (4, 0, 0)
    assert changes(before, LISTING.empty_table()) == (0, 0, 4)


def test_figures_are_those_of_the_tables(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    for result in results_for([3, None, 2, 4]):
        store.commit(result)
    published(store)
    rows, failures = tables(str(tmp_path))["answers"], tables(str(tmp_path))["failures"]
    found = figures_of(store.folder, "test-run")
    assert found.statuses == {
        status: [r["status"] for r in rows].count(status) for status in {r["status"] for r in rows}
    }
    assert found.failures.total() == len(failures)
    assert found.share("failed") == pytest.approx(len(failures) / len(rows))
    kept = [row["retention"] for row in rows if row["retention"] is not None]
    assert found.mean("retention") == pytest.approx(sum(kept) / len(kept))
    assert found.mean("confidence") is None
    assert found.review_reasons == {"floor": [row["status"] for row in rows].count("needs_review")}
    assert figures_of(store.folder, "other-run").statuses.total() == 0
    assert figures_of(store.folder, "other-run").share("failed") is None
    documents = {(row["document_id"], row["document"]) for row in tables(str(tmp_path))["documents"]}
    with Scratch() as scratch:
        listed = [row for batch in listing_of(store.folder, scratch) for row in batch.to_pylist()]
    assert sorted(documents) == [(row["document_id"], row["document"]) for row in listed]


def test_nights_are_kept_and_the_last_complete_one_says_what_was_there(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert (read_nights(folder, 5), last_listing(folder)) == ([], None)
    first, second = night(run_id="1"), night(run_id="2", pending=3)
    write_night(folder, first, [listing(a="a.pdf")])
    write_night(folder, second, [listing(b="b.pdf")])
    assert read_nights(folder, 5) == [first, second]
    assert read_nights(folder, 1) == [second]
    assert pa.concat_tables(last_listing(folder) or ()) == listing(a="a.pdf")
    folder.write("nights/3.json", b"{}")
    with pytest.raises(UsageError, match=r"nights/3\.json is damaged: Field required; delete it"):
        read_nights(folder, 5)
