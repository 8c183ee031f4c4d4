from __future__ import annotations

import dataclasses
import random

import pytest

from pipeline.output.held import Held
from pipeline.records import Unit

UNIT = Unit("u", "d", "q", (1, 2, 3, 4))


def test_a_footer_lists_pages_only_of_units_that_are_divided() -> None:
    whole = Held.by([UNIT, Unit("v", "d", "r", ())])
    assert whole.to_footer() == {"units": '["u", "v"]'}
    some = Held.by([Unit("v", "d", "r", ()), dataclasses.replace(UNIT, pages=(4, 2), whole=False)])
    assert some.to_footer() == {"units": '["v"]', "pages": '{"u": [2, 4]}'}
    for held in (whole, some, Held()):
        assert Held.from_footer(held.to_footer()) == held


@pytest.mark.parametrize(
    ("held", "left"),
    [
        (Held(), (1, 2, 3, 4)),
        (Held({"u"}), None),
        (Held({"v"}, {"w": {1}}), (1, 2, 3, 4)),
        (Held(set(), {"u": {2, 9}}), (1, 3, 4)),
        (Held(set(), {"u": {1, 2, 3, 4}}), None),
    ],
)
def test_what_is_left_of_a_unit_keeps_its_id(held: Held, left: tuple[int, ...] | None) -> None:
    found = held.left_of(UNIT)
    if left is None:
        assert found is None
    else:
        assert found == dataclasses.replace(UNIT, pages=left, whole=left == UNIT.pages)


def test_a_document_that_cannot_be_opened_is_done_as_a_whole() -> None:
    unopened = Unit("v", "d", "r", ())
    assert Held().left_of(unopened) == unopened
    assert Held.by([unopened]).left_of(unopened) is None


def test_common_are_exactly_the_rows_that_both_hold() -> None:
    rng = random.Random(7)

    def rows(held: Held) -> set[tuple[str, int]]:
        whole = {(unit, page) for unit in held.units for page in range(6)}
        return whole | {(unit, page) for unit, pages in held.pages.items() for page in pages}

    def some() -> Held:
        held = Held()
        for unit in "abcd":
            kind = rng.randrange(3)
            if kind == 1:
                held.units.add(unit)
            elif kind == 2:
                held.pages[unit] = {page for page in range(6) if rng.random() < 0.5}
        return held

    for _ in range(300):
        one, other = some(), some()
        assert rows(one.common(other)) & rows(other) == rows(one) & rows(other)
        common, before = one.common(other), rows(one.common(other))
        one.add(other)
        assert rows(common) == before
        assert rows(one) >= rows(other)
