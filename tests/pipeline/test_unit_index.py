from __future__ import annotations

import dataclasses
import random
import sys
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from pipeline import catalog, unit_index
from pipeline import scratch as scratch_module
from pipeline.catalog import Catalog
from pipeline.output import completed
from pipeline.output import publish as publishing
from pipeline.output.current import Plan
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.records import Bundle, Unit
from pipeline.scratch import Scratch
from pipeline.unit_index import UnitIndex
from pipeline.units import make_bundles, make_units, planned_rows
from tests.support.bundles import SETTINGS, documents_with, questions, result_of, with_counts

TOGETHER = """
version: 1
questions:
  - {id: a, text: A}
  - {id: ends, text: E, pages: "1+-1"}
  - {id: nowhere, text: N, documents: "other/**"}
"""


def index_of(scratch: Scratch, pages: list[int | None], text: str = TOGETHER) -> UnitIndex:
    documents, counts = documents_with(pages)
    found = Catalog(scratch)
    found.append(documents)
    found.count(counts.values())
    return UnitIndex(found, questions(text), SETTINGS)


def test_what_is_left_is_what_the_parts_do_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As lists of all units would tell it, while bundles are committed in any order, whole and in halves."""
    monkeypatch.setattr(unit_index, "_WINDOW", 7)
    rng = random.Random(5)
    pages: list[int | None] = [rng.choice([None, 1, 2, 7, 33, 70]) for _ in range(20)]
    counted, asked = with_counts(*documents_with(pages)), questions(TOGETHER)
    units = list(make_units(counted, asked, SETTINGS))
    store = OutputStore(Folder(str(tmp_path)))
    with Scratch() as scratch:
        index = index_of(scratch, pages)
        assert (index.units, index.rows, index.asked) == (len(units), planned_rows(units), {"a", "ends"})
        for _ in range(30):
            pending = index.pending(store.completed(scratch))
            left = store.done().left(units)
            assert [unit for _, of in pending.by_document() for unit in of] == left
            assert (pending.units, pending.rows) == (len(left), planned_rows(left))
            assert pending.documents == len({unit.document_id for unit in left})
            assert pending.pages == len({(unit.document_id, page) for unit in left for page in unit.read_pages})
            bundles = list(pending.bundles())
            assert bundles == list(make_bundles(left, counted, asked, SETTINGS))
            if not left:
                break
            for bundle in rng.sample(bundles, k=min(len(bundles), 3)):
                store.commit(result_of(half_of(bundle) if rng.random() < 0.5 else bundle))
        assert not left


def half_of(bundle: Bundle) -> Bundle:
    """Half of the pages of each unit."""

    def half(unit: Unit) -> Unit:
        taken = unit.pages[: (len(unit.pages) + 1) // 2]
        return unit if taken == unit.pages else dataclasses.replace(unit, pages=taken, whole=False)

    return dataclasses.replace(bundle, units=tuple(map(half, bundle.units)))


def test_memory_does_not_grow_with_the_documents(tmp_path: Path) -> None:
    """Whatever is held of a run comes in portions, here small ones; the database holds the rest."""
    few, many = 300, 2400
    # In a process of its own: the more other tests left behind, the longer Python waits before it collects cycles.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        small, large = process.submit(in_small_portions, tmp_path, (few, many)).result()
    held = (large - small) / (many - few)
    least = sys.getsizeof(documents_with([1])[0][0].document_id)
    assert held < least, f"{held:.0f} bytes more per document, where its id alone takes {least}"


def in_small_portions(path: Path, numbers: Sequence[int]) -> list[int]:
    """What runs of so many documents hold at most, in bytes."""
    for module, name, size in (
        (unit_index, "_WINDOW", 100),
        (catalog, "_WINDOW", 50),
        (completed, "_WINDOW", 2),
        (publishing, "PARTS_PER_FILE", 2),
        (publishing, "_PARTS_AT_A_TIME", 2),
        (publishing, "ROWS_AT_A_TIME", 100),
        (publishing, "_ROWS_TO_COPY", 100),
        (scratch_module, "_BATCH", 100),
    ):
        assert hasattr(module, name)
        setattr(module, name, size)
    planned_and_published(path / "first", 50)  # imports and caches
    return [planned_and_published(path / str(number), number) for number in numbers]


def planned_and_published(path: Path, documents: int) -> int:
    """Plan, commit and publish documents of one page; the largest number of bytes that Python held."""
    store = OutputStore(Folder(str(path)))
    text = "version: 1\nquestions:\n" + "".join(f"  - {{id: q{n}, text: T}}\n" for n in range(4))
    with Scratch() as scratch:
        index = index_of(scratch, [1] * documents, text)
        for bundle in index.pending(store.completed(scratch)).bundles():
            store.commit(result_of(bundle))
        tracemalloc.start()
        try:
            index = UnitIndex(index.catalog, index.questions, index.settings)
            assert index.pending(store.completed(scratch)).rows == 0
            publish(store, {}, Plan(scratch))
            assert sum(store.status_counts().values()) == 4 * documents
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
