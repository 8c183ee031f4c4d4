from __future__ import annotations

import pickle

import pytest

from pipeline.questions.page_ranges import PageRanges


@pytest.mark.parametrize(
    ("text", "page_count", "pages"),
    [
        ("all", 3, (1, 2, 3)),
        (" all ", 2, (1, 2)),
        ("1", 3, (1,)),
        ("1-3,-1", 9, (1, 2, 3, 9)),
        ("-1,1-3", 9, (1, 2, 3, 9)),
        ("1-3,2-4,3", 9, (1, 2, 3, 4)),
        (" 2 , 4-5 ", 9, (2, 4, 5)),
        ("1-3,-1", 2, (1, 2)),
        ("1-3,-1", 1, (1,)),
        ("5", 4, ()),
        ("3-100", 5, (3, 4, 5)),
        ("-2--1", 5, (4, 5)),
        ("-9--2", 3, (1, 2)),
        ("-5", 3, ()),
        ("2--2", 5, (2, 3, 4)),
        ("2--2", 3, (2,)),
        ("2--2", 2, ()),
        ("-2-4", 4, (3, 4)),
        ("all", 0, ()),
        ("1,-1", 0, ()),
    ],
)
def test_resolve(text: str, page_count: int, pages: tuple[int, ...]) -> None:
    assert PageRanges.parse(text).resolve(page_count) == pages


@pytest.mark.parametrize("text", ["", "0", "1-0", "-0", "a", "1,", ",1", "1-2-3", "1..3", "1 2", "ALL", "01", "١"])
def test_what_is_no_range_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="expected 'all' or a list such as '1-3,-1'"):
        PageRanges.parse(text)


@pytest.mark.parametrize("text", ["3-1", "-1--3", "1,3-2"])
def test_a_range_that_ends_before_it_begins_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text.rpartition(',')[2]}' ends before it begins"):
        PageRanges.parse(text)


def test_ranges_are_plain_values() -> None:
    ranges = PageRanges.parse("1-3,-1")
    assert ranges.parts == ((1, 3), (-1, -1))
    assert pickle.loads(pickle.dumps(ranges)) == ranges
    assert hash(ranges) == hash(PageRanges.parse(" 1-3 , -1"))


@pytest.mark.parametrize(
    ("text", "page_count", "pages"),
    [
        ("1+2", 9, (1, 2)),
        (" 2 + 1 ", 9, (1, 2)),
        ("1+-1", 9, (1, 9)),
        ("1+2+-1", 2, (1, 2)),
        ("1+2", 1, (1,)),
        ("1+-1", 1, (1,)),
        ("3+-4", 2, ()),
    ],
)
def test_pages_that_are_read_together_come_in_their_order_as_far_as_they_are_there(
    text: str, page_count: int, pages: tuple[int, ...]
) -> None:
    ranges = PageRanges.parse(text)
    assert ranges.together
    assert ranges.resolve(page_count) == pages
    apart = PageRanges.parse(text.replace("+", ","))
    assert (ranges.at_once, apart.at_once, apart.together) == (text.count("+") + 1, 1, False)


@pytest.mark.parametrize("text", ["+1", "1+", "1+2,3", "3,1+2", "1-2+3", "1+all", "1++2", "0+1"])
def test_what_cannot_be_read_together_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="names no pages to read together: expected pages such as '1.2'"):
        PageRanges.parse(text)


@pytest.mark.parametrize("text", ["1+1", "-1+2+-1"])
def test_a_page_is_read_once(text: str) -> None:
    with pytest.raises(ValueError, match="names a page twice"):
        PageRanges.parse(text)
