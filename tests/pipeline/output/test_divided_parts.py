"""Parts that hold some pages of a unit: publishing loses and doubles nothing, however they overlap."""

from __future__ import annotations

import dataclasses
import random
import uuid
from collections.abc import Iterator

import fsspec
import pytest

from pipeline.output.parts import part_id
from pipeline.records import Bundle, Failure
from tests.support.bundles import result_of, units_and_bundles
from tests.support.published import published, store_at, tables


@pytest.fixture
def memory() -> Iterator[str]:
    uri = f"memory://{uuid.uuid4().hex}"
    yield uri
    fsspec.filesystem("memory").rm(uri, recursive=True)


def cut(bundle: Bundle, pages: set[int]) -> Bundle:
    """The bundle with some of its pages, as a part holds them."""
    units = []
    for unit in bundle.units:
        left = tuple(page for page in unit.pages if page in pages)
        if left or not unit.pages:
            units.append(dataclasses.replace(unit, pages=left, whole=left == unit.pages))
    return dataclasses.replace(bundle, units=tuple(units))


@pytest.mark.parametrize("in_steps", [False, True])
def test_pages_in_several_parts_whole_or_divided_are_published_once(memory: str, in_steps: bool) -> None:
    _, [bundle] = units_and_bundles([None, 9])
    broken = {(bundle.documents[1].document_id, 7): Failure("infer", "OutOfMemory", "x")}
    whole = store_at(f"{memory}/whole")
    whole.commit(result_of(bundle, broken))
    published(whole)
    rng = random.Random(4)
    for number in range(5):
        store = store_at(f"{memory}/{number}")
        choices = [set(range(1, 10)), *({page for page in range(1, 10) if rng.random() < 0.5} for _ in range(3))]
        for pages in rng.sample(choices, k=len(choices)):
            store.commit(result_of(cut(bundle, pages), broken))
            if in_steps:
                published(store)
        published(store)
        found, expected = tables(f"{memory}/{number}"), tables(f"{memory}/whole")
        for name in ("answers", "failures", "documents"):  # each key once, which ``tables`` checks
            assert found[name] == expected[name]
        assert [row["page"] for row in found["pages"]] == [row["page"] for row in expected["pages"]]
        assert store.done().units == whole.done().units


def test_rows_that_two_parts_hold_survive_the_loss_of_either(memory: str) -> None:
    _, [bundle] = units_and_bundles([4])
    for gone in ([1, 2, 3], [2, 3, 4]):
        store = store_at(f"{memory}/{gone[0]}")
        for pages in ([1, 2, 3], [2, 3, 4]):
            store.commit(result_of(cut(bundle, set(pages))))
            published(store)
        fsspec.filesystem("memory").rm(f"{store.folder.uri}/parts/{part_id(cut(bundle, set(gone)))}.parquet")
        published(store)
        kept = {1, 2, 3, 4} - ({1} if gone[0] == 1 else {4})
        found = tables(store.folder.uri)["answers"]
        assert [row["page"] for row in found if row["question_id"] == "total"] == sorted(kept)
        assert [store.done().left_of(unit) for unit in bundle.units if unit.question_id == "total"] != [None]
