from __future__ import annotations

import dataclasses

import pytest

from glimpseprune.rule import KeepRule
from pipeline.plan import CHUNK_PAGES, bundle_from_json, bundle_to_json, make_bundles, make_units, planned_rows
from pipeline.records import AnswerSettings, PixelBudget
from tests.helpers import SETTINGS, documents, questions


def test_a_long_document_is_cut_into_fixed_chunks() -> None:
    found, counts = documents(70)
    units = make_units(
        found, counts, questions("id: a, text: What a", "id: b, text: What b, pages: '1-40,-1'"), SETTINGS
    )
    assert [(u.question_id, u.pages[0], u.pages[-1], len(u.pages)) for u in units] == [
        ("a", 1, 32, 32),
        ("b", 1, 32, 32),
        ("a", 33, 64, 32),
        ("b", 33, 40, 8),
        ("a", 65, 70, 6),
        ("b", 70, 70, 1),
    ]
    assert planned_rows(units) == 70 + 41


def test_documents_that_cannot_be_opened_are_planned_too() -> None:
    found, counts = documents(2, None)
    units = make_units(
        found, counts, questions("id: a, text: What a", "id: b, text: What b, documents: d0.pdf"), SETTINGS
    )
    assert [(u.document_id, u.question_id, u.pages) for u in units] == [
        ("id0", "a", (1, 2)),
        ("id0", "b", (1, 2)),
        ("id1", "a", ()),
    ]
    assert planned_rows(units) == 5
    bundle = make_bundles(units, found, questions(), SETTINGS, counts)[0]
    assert set(bundle.failures) == {"id1"}


def test_ids_do_not_depend_on_what_else_is_read() -> None:
    few, few_counts = documents(40, 3)
    many, many_counts = documents(40, 3, 7, None, 90)
    asked = questions()
    ids = {u.unit_id for u in make_units(few, few_counts, asked, SETTINGS)}
    assert ids < {u.unit_id for u in make_units(many, many_counts, asked, SETTINGS)}
    more = questions("id: a, text: What a", "id: b, text: What b", "id: c, text: What c")
    assert ids < {u.unit_id for u in make_units(few, few_counts, more, SETTINGS)}


CHANGES: dict[str, dict[str, object]] = {
    "model": {"model_fingerprint": "x"},
    "add-on": {"glimpse_fingerprint": "x"},
    "rule": {"rule": KeepRule(max_ratio=0.1)},
    "no pruning": {"rule": None},
    "dpi": {"dpi": 100},
    "budget": {"budget": PixelBudget(28, 3136, 784 * 100)},
    "dtype": {"dtype": "bfloat16"},
    "seed": {"seed": 1},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_every_setting_that_an_answer_depends_on_is_in_the_id(changes: dict[str, object]) -> None:
    found, counts = documents(3)
    changed: AnswerSettings = dataclasses.replace(SETTINGS, **changes)  # type: ignore[arg-type]
    before, after = ({u.unit_id for u in make_units(found, counts, questions(), s)} for s in (SETTINGS, changed))
    assert before.isdisjoint(after)


def test_where_the_model_lies_is_not_part_of_the_id() -> None:
    found, counts = documents(3)
    moved = dataclasses.replace(SETTINGS, model="/elsewhere", glimpse="/elsewhere")
    assert make_units(found, counts, questions(), SETTINGS) == make_units(found, counts, questions(), moved)


def test_bundles_hold_every_unit_once_and_about_a_chunk_of_pages() -> None:
    found, counts = documents(1, 5, 70, 20, 10, 3, None, 31, 2)
    asked = questions("id: a, text: What a", "id: b, text: What b, pages: '1,-1'")
    units = make_units(found, counts, asked, SETTINGS)
    bundles = make_bundles(units, found, asked, SETTINGS, counts)
    packed = [unit for bundle in bundles for unit in bundle.units]
    assert sorted(packed, key=str) == sorted(units, key=str)
    homes: dict[tuple[str, int], set[str]] = {}
    for bundle in bundles:
        pages = {(u.document_id, p) for u in bundle.units for p in u.pages}
        assert len(pages) <= CHUNK_PAGES
        for page in pages:
            homes.setdefault(page, set()).add(bundle.bundle_id)
        assert {d.document_id for d in bundle.documents} == {u.document_id for u in bundle.units}
    assert all(len(home) == 1 for home in homes.values())  # all questions of a page together
    assert len(bundles) < len(units) / 2
    assert bundles == make_bundles(units, found, asked, SETTINGS, counts)


def test_a_bundle_survives_text() -> None:
    found, counts = documents(3, None)
    for asked in (questions(), questions("id: a, text: What a, keep: {max_ratio: 0.1}")):
        for settings in (SETTINGS, dataclasses.replace(SETTINGS, rule=None)):
            units = make_units(found, counts, asked, settings)
            for bundle in make_bundles(units, found, asked, settings, counts):
                assert bundle_from_json(bundle_to_json(bundle)) == bundle
                assert bundle.asks_of("id0", 2) == [q.to_ask(settings.rule) for q in asked.questions]
