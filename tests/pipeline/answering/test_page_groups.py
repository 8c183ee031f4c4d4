"""What the model reads at once, of a bundle with questions about pages by themselves and together."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.answering.page_groups import not_read, page_groups
from pipeline.records import Document, Failure, PageCount, PageFailure, PageImage, RenderedBundle
from pipeline.units import make_bundles, make_units
from tests.support.helpers import SETTINGS, questions

ASKED = questions(
    "id: a, text: x, pages: '1,4'",
    "id: b, text: x, pages: '1+2'",
    "id: c, text: x, pages: '2+3'",
    "id: d, text: x, pages: '1+2'",
)


def rendered(broken: tuple[int, ...] = (), blank: tuple[int, ...] = ()) -> RenderedBundle:
    counted = [(Document("d", "d.pdf", "/d.pdf", 1, "1"), PageCount("d", 4))]
    (bundle,) = make_bundles(make_units(counted, ASKED, SETTINGS), counted, ASKED, SETTINGS)
    size = (28.0, 28.0, 72.0, 28, 28, 1, 1.0, "raw", b"")
    images = [PageImage("d", page, *size, blank=page in blank) for page in (1, 2, 3, 4) if page not in broken]  # type: ignore[arg-type]
    failures = [PageFailure("d", page, Failure("render", "RenderCrash", f"x{page}")) for page in broken]
    return RenderedBundle(bundle, tuple(images), tuple(failures), {})


def read(found: RenderedBundle) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(group.pages, tuple(image.page for image in group.counted)) for group in page_groups(found)]


def left_out(found: RenderedBundle) -> list[tuple[tuple[int, ...], str | None]]:
    return [(one.pages, one.failure and one.failure.error_message) for one in not_read(found)]


def test_pages_by_themselves_come_first_and_each_page_counts_once() -> None:
    assert read(rendered()) == [((1,), (1,)), ((4,), (4,)), ((1, 2), (2,)), ((2, 3), (3,))]
    assert left_out(rendered()) == []


def test_a_page_that_cannot_be_rendered_costs_the_questions_about_it() -> None:
    assert read(rendered(broken=(2,))) == [((1,), (1,)), ((4,), (4,))]
    assert left_out(rendered(broken=(2,))) == [((2,), "x2"), ((1, 2), "page 2: x2"), ((2, 3), "page 2: x2")]
    assert left_out(rendered(broken=(2, 3)))[2:] == [((1, 2), "page 2: x2"), ((2, 3), "page 2: x2")]


def test_a_blank_page_is_read_beside_one_that_is_not() -> None:
    assert read(rendered(blank=(2,))) == [((1,), (1,)), ((4,), (4,)), ((1, 2), ()), ((2, 3), (3,))]
    assert read(rendered(blank=(2, 3))) == [((1,), (1,)), ((4,), (4,)), ((1, 2), ())]
    assert left_out(rendered(blank=(2, 3))) == [((2,), None), ((3,), None), ((2, 3), None)]


@pytest.mark.parametrize("broken", [(), (2,)])
@pytest.mark.parametrize("blank", [(), (3,), (1, 3)])
def test_every_unit_is_read_or_not(broken: tuple[int, ...], blank: tuple[int, ...]) -> None:
    found = rendered(broken, blank)
    places = [group.pages for group in page_groups(found)] + [one.pages for one in not_read(found)]
    asked = [ask.question_id for pages in places for ask in found.bundle.asks_of("d", *pages)]
    assert sorted(asked) == ["a", "a", "b", "c", "d"]
    counted = [image.page for group in page_groups(found) for image in group.counted]
    assert len(counted) == len(set(counted))
    left = dataclasses.replace(found, images=found.images[1:])
    assert 1 not in {page for group in page_groups(left) for page in group.pages}
