from __future__ import annotations

import dataclasses
import random

import pytest

from glimpseprune.rule import KeepRule
from pipeline.output.held import Held
from pipeline.records import AnswerSettings, PageCount, PixelBudget
from pipeline.units import (
    CHUNK_PAGES,
    bundle_from_json,
    bundle_to_json,
    make_bundles,
    make_units,
    planned_rows,
)
from tests.support.bundles import LOCKED, SETTINGS, document, documents_with, questions, units_and_bundles, with_counts


def test_units_are_questions_on_chunks_of_pages_in_document_order() -> None:
    units, _ = units_and_bundles([2, 40])
    first, second = document(0).document_id, document(1).document_id
    assert [(u.document_id, u.question_id, u.pages) for u in units] == [
        (first, "total", (1, 2)),
        (first, "date", (1,)),
        (second, "total", tuple(range(1, 33))),
        (second, "date", (1,)),
        (second, "total", tuple(range(33, 41))),
    ]
    assert len({u.unit_id for u in units}) == len(units)
    assert planned_rows(units) == 2 + 1 + 40 + 1


def test_a_document_that_cannot_be_opened_is_one_row_a_question_and_carries_its_failure() -> None:
    units, bundles = units_and_bundles([None, 1])
    assert [(u.question_id, u.pages) for u in units[:2]] == [("total", ()), ("date", ())]
    assert planned_rows(units) == 4
    assert [b.failures for b in bundles] == [{document(0).document_id: LOCKED}]


def test_questions_on_other_documents_or_pages_plan_nothing() -> None:
    asked = questions(
        'version: 1\nquestions:\n  - {id: a, text: A, documents: "other/**"}\n  - {id: b, text: B, pages: "5-9"}\n'
    )
    units, bundles = units_and_bundles([3, None], asked)
    assert [(u.question_id, u.document_id, u.pages) for u in units] == [("b", document(1).document_id, ())]
    assert len(bundles) == 1


BASE = "version: 1\nquestions:\n  - {id: a, text: A}\n"


def _ids(text: str = BASE, settings: AnswerSettings = SETTINGS, pages: int = 3) -> list[str]:
    documents, counts = documents_with([pages])
    return [u.unit_id for u in make_units(with_counts(documents, counts), questions(text), settings)]


@pytest.mark.parametrize(
    "changed",
    [
        {"model_fingerprint": "m2"},
        {"glimpse_fingerprint": "g1"},
        {"rule": None},
        {"rule": KeepRule(threshold=0.41, max_ratio=0.3, min_tokens=2)},
        {"dpi": 150},
        {"budget": PixelBudget(28, 3136, 1_003_521, "pipeline.families.qwen2_5_vl")},
        {"dtype": "bfloat16"},
        {"seed": 1},
        {"prune_auto": True},
        {"repetition_penalty": 1.0},  # the checkpoint may have another
        {"ocr": "rapidocr 3.10.0"},
    ],
)
def test_every_setting_that_an_answer_depends_on_changes_the_unit(changed: dict[str, object]) -> None:
    assert _ids(settings=dataclasses.replace(SETTINGS, **changed)) != _ids()  # type: ignore[arg-type]


def test_a_checkpoint_under_another_name_is_the_same_unit() -> None:
    assert _ids(settings=dataclasses.replace(SETTINGS, model="/mnt/nano", glimpse="x")) == _ids()


def test_where_the_module_of_the_family_lies_does_not_change_the_unit() -> None:
    budget = dataclasses.replace(SETTINGS.budget, family="elsewhere.module")
    assert _ids(settings=dataclasses.replace(SETTINGS, budget=budget)) == _ids()


@pytest.mark.parametrize(
    "extra",
    [
        "text: B",
        "prompt: 'Q: {text}'",
        "type: choice, choices: [x, y]",
        "type: money",
        "type: list, items: integer",
        "max_new_tokens: 9",
        "keep: {min_tokens: 3}",
        "pages: '1-2'",
    ],
)
def test_every_part_of_a_question_that_an_answer_depends_on_changes_the_unit(extra: str) -> None:
    fields = extra if extra.startswith("text") else f"text: A, {extra}"
    assert _ids(f"version: 1\nquestions:\n  - {{id: a, {fields}}}\n") != _ids()


@pytest.mark.parametrize(
    "extra",
    [
        'aggregate: vote, documents: "docs/*"',
        "type: iban",
        "type: list, items: text",
        "type: money, constrain: false",
        "locale: de_DE",
        "keep: {max_ratio: 0.3}",  # as the rule of the run
        r'prompt: "{text}\nAnswer with a single word or phrase. If the page does not say, answer n/a."',  # the default
    ],
)
def test_point_16_what_no_answer_depends_on_does_not_change_the_unit(extra: str) -> None:
    assert _ids(f"version: 1\nquestions:\n  - {{id: a, text: A, {extra}}}\n") == _ids()


def test_a_type_with_the_limits_of_another_is_the_same_unit() -> None:
    head = "version: 1\nquestions:\n  - {id: a, text: A, "
    limited = [_ids(f"{head}{extra}}}\n") for extra in ("type: integer", "type: number", "type: list, items: number")]
    assert len({ids[0] for ids in limited}) == 3
    free = [_ids(f"{head}{extra}}}\n") for extra in ("type: phone", "type: integer, constrain: false")]
    assert free == [_ids()] * 2
    choice = f"{head}prompt: '{{text}}', type: choice, choices: [x, y]"
    assert _ids(f"{choice}}}\n") != _ids(f"{choice}, choice_probabilities: true}}\n")


def test_point_16_an_override_counts_for_nothing_where_nothing_is_pruned() -> None:
    unpruned = dataclasses.replace(SETTINGS, rule=None)
    override = "version: 1\nquestions:\n  - {id: a, text: A, keep: {min_tokens: 3}}\n"
    assert _ids(override, unpruned) == _ids(settings=unpruned)


def test_point_16_the_order_of_questions_and_of_unnamed_choices_does_not_change_the_units() -> None:
    first = "  - {id: a, text: A}\n"
    second = "  - {id: b, text: B, prompt: '{text}', type: choice, choices: [x, y]}\n"
    other = second.replace("[x, y]", "[y, x]")
    head = "version: 1\nquestions:\n"
    assert sorted(_ids(head + first + second)) == sorted(_ids(head + other + first))


def test_ids_are_the_same_on_every_machine() -> None:
    # A changed id makes every finished output folder start over: change it only with SCHEMA_VERSION.
    assert _ids("version: 1\nquestions:\n  - {id: a, text: A, prompt: '{text}'}\n") == ["dc80e2ee553bc8edbff1b5a1"]


def test_pages_added_at_the_end_leave_full_chunks_alone() -> None:
    assert _ids(pages=70)[:2] == _ids(pages=64)


def test_short_documents_share_a_bundle_and_long_ones_are_cut() -> None:
    _, bundles = units_and_bundles([10, 10, 10, 10, 70, 1])
    assert [[(d.path[-8:-4], len(b.pages_of(d.document_id))) for d in b.documents] for b in bundles] == [
        [("0000", 10), ("0001", 10), ("0002", 10)],
        [("0003", 10)],
        [("0004", 32)],
        [("0004", 32)],
        [("0004", 6), ("0005", 1)],
    ]


def test_a_bundle_counts_the_pages_that_are_asked_for_not_those_of_the_document() -> None:
    asked = questions('version: 1\nquestions:\n  - {id: a, text: A, pages: "1,-1"}\n')
    _, bundles = units_and_bundles([500] * 16, asked)
    assert [len(b.documents) for b in bundles] == [16]
    assert [b.pages_of(d.document_id) for b in bundles for d in b.documents] == [[1, 500]] * 16


def test_bundles_hold_each_unit_once_and_a_page_once() -> None:
    rng = random.Random(5)
    pages = [rng.choice([None, 1, 2, 3, 31, 32, 33, 64, 65, 100]) for _ in range(60)]
    units, bundles = units_and_bundles(pages)
    assert sorted(u.unit_id for b in bundles for u in b.units) == sorted(u.unit_id for u in units)
    places = [(d.document_id, page) for b in bundles for d in b.documents for page in b.pages_of(d.document_id)]
    assert len(places) == len(set(places)) == sum(p or 0 for p in pages)
    assert len({b.bundle_id for b in bundles}) == len(bundles)
    for bundle in bundles:
        pages_in = sum(max(1, len(bundle.pages_of(d.document_id))) for d in bundle.documents)
        assert pages_in <= CHUNK_PAGES
        assert {d.document_id for d in bundle.documents} == {u.document_id for u in bundle.units}
        assert {a.question_id for a in bundle.asks} == {u.question_id for u in bundle.units}
        assert bundle.asks == tuple(sorted(bundle.asks, key=lambda a: ["total", "date"].index(a.question_id)))


def test_what_is_left_comes_in_the_same_bundles_whatever_was_finished_in_between() -> None:
    rng = random.Random(11)
    pages = [rng.randint(1, 20) for _ in range(50)]
    _, bundles = units_and_bundles(pages)
    for _ in range(10):
        finished = [b for b in bundles if rng.random() < 0.5]
        done = {u.unit_id for b in finished for u in b.units}
        _, left = units_and_bundles(pages, done=done)
        assert left == [b for b in bundles if b not in finished]


def test_what_is_left_of_a_unit_comes_in_the_bundle_of_the_unit() -> None:
    pages = [10, 20, 70, None]
    units, bundles = units_and_bundles(pages)
    done = Held()
    for bundle in bundles:
        last = bundle.units[0]
        done.add(Held.by([dataclasses.replace(last, pages=last.pages[1:], whole=False)]))
    _, left = units_and_bundles(pages, done=done)
    assert [bundle.bundle_id for bundle in left] == [bundle.bundle_id for bundle in bundles]
    first = [bundle.units[0] for bundle in left]
    assert [(unit.unit_id, unit.pages, unit.whole) for unit in first] == [
        (bundle.units[0].unit_id, bundle.units[0].pages[:1], False) for bundle in bundles
    ]
    assert [bundle.units[1:] for bundle in left] == [bundle.units[1:] for bundle in bundles]
    assert [bundle_from_json(bundle_to_json(bundle)) for bundle in left] == left
    assert planned_rows(units) - planned_rows(u for b in left for u in b.units) == sum(
        len(b.units[0].pages) - 1 for b in bundles
    )


def test_a_new_question_is_asked_alone() -> None:
    old, _ = units_and_bundles([3, 3])
    more = questions(
        'version: 1\nquestions:\n  - {id: total, text: "What is the total?", type: iban}\n  - {id: new, text: N}\n'
    )
    _, bundles = units_and_bundles([3, 3], more, {u.unit_id for u in old})
    assert [[u.question_id for u in b.units] for b in bundles] == [["new", "new"]]
    assert [a.question_id for b in bundles for a in b.asks] == ["new"]


def test_asks_carry_the_rule_of_the_run_with_the_overrides_of_the_question() -> None:
    _, bundles = units_and_bundles(
        [1], questions("version: 1\nquestions:\n  - {id: a, text: A, keep: {min_tokens: 16}}\n")
    )
    assert bundles[0].asks[0].rule == KeepRule(threshold=0.4, max_ratio=0.3, min_tokens=16)


def test_a_bundle_survives_json_exactly() -> None:
    _, bundles = units_and_bundles([None, 3, 40])
    for bundle in bundles:
        again = bundle_from_json(bundle_to_json(bundle))
        assert again == bundle
        assert type(again.units[0].pages) is tuple
        assert again.failures == bundle.failures
    odd = dataclasses.replace(
        bundles[0],
        asks=(dataclasses.replace(bundles[0].asks[0], prompt='é"\\\n\u2028', rule=None, choices=("a", "b")),),
    )
    assert bundle_from_json(bundle_to_json(odd)) == odd


def test_no_document_gives_no_bundle() -> None:
    assert list(make_units([], questions(), SETTINGS)) == []
    assert list(make_bundles([], [], questions(), SETTINGS)) == []
    assert planned_rows([]) == 0


def test_a_plan_of_nine_hundred_thousand_pages_is_complete() -> None:
    documents = [document(n) for n in range(3000)]
    counts = {d.document_id: PageCount(d.document_id, 300) for d in documents}
    counted = with_counts(documents, counts)
    units = list(make_units(counted, questions(), SETTINGS))
    bundles = make_bundles(units, counted, questions(), SETTINGS)
    assert planned_rows(units) == 3000 * 301
    assert sum(len(b.units) for b in bundles) == len(units) == 3000 * 11


TOGETHER = """
version: 1
questions:
  - {id: a, text: A}
  - {id: both, text: B, pages: "1+2"}
  - {id: ends, text: E, pages: "1+-1"}
"""


def test_a_question_about_pages_together_has_one_unit_and_one_row() -> None:
    units, (bundle,) = units_and_bundles([3, 1], questions(TOGETHER))
    assert [(u.document_id[:4], u.question_id, u.pages, u.further) for u in units] == [
        ("0000", "a", (1, 2, 3), ()),
        ("0000", "both", (1,), (2,)),
        ("0000", "ends", (1,), (3,)),
        ("9e37", "a", (1,), ()),
        ("9e37", "both", (1,), ()),  # of the pages together, those that the document has
        ("9e37", "ends", (1,), ()),
    ]
    assert planned_rows(units) == 8
    assert len({unit.unit_id for unit in units}) == 6
    (first, second) = bundle.documents
    assert bundle.pages_of(first.document_id) == [1, 2, 3]
    asked = [(1,), (2,), (1, 2), (1, 3), (2, 3)]
    assert [[ask.question_id for ask in bundle.asks_of(first.document_id, *pages)] for pages in asked] == [
        ["a"],
        ["a"],
        ["both"],
        ["ends"],
        [],
    ]
    assert [ask.question_id for ask in bundle.asks_of(second.document_id, 1)] == ["a", "both", "ends"]
    assert bundle_from_json(bundle_to_json(bundle)) == bundle


def test_pages_together_and_the_same_pages_one_by_one_are_other_units() -> None:
    ids = [
        _ids(f'version: 1\nquestions:\n  - {{id: a, text: A, prompt: "{{text}}", pages: "{p}"}}\n')
        for p in ("1,2", "1+2", "2+1", "1+3")
    ]
    assert ids[1] == ids[2]
    assert len({*map(tuple, ids)}) == 3


def test_pages_together_go_with_the_chunk_of_the_first() -> None:
    asked = questions(
        'version: 1\nquestions:\n  - {id: a, text: A, pages: "3+-1"}\n  - {id: b, text: B, pages: "-1"}\n'
    )
    units, bundles = units_and_bundles([100], asked)
    assert [(u.question_id, u.pages, u.further) for u in units] == [("a", (3,), (100,)), ("b", (100,), ())]
    assert [b.pages_of(b.documents[0].document_id) for b in bundles] == [[3, 100]]
