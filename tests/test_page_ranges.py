from __future__ import annotations

import pytest

from pipeline.page_ranges import PageRanges


@pytest.mark.parametrize(
    ("text", "count", "pages"),
    [
        ("all", 3, (1, 2, 3)),
        (" all ", 1, (1,)),
        ("2", 3, (2,)),
        ("1-3,-1", 9, (1, 2, 3, 9)),
        ("-1", 1, (1,)),
        ("-3--1", 5, (3, 4, 5)),
        ("2--2", 5, (2, 3, 4)),
        ("4--2", 3, ()),
        ("1-99", 4, (1, 2, 3, 4)),
        ("7", 4, ()),
        ("-7", 4, ()),
        ("-7-2", 4, (1, 2)),
        ("3,1,2-3", 4, (1, 2, 3)),
    ],
)
def test_resolve(text: str, count: int, pages: tuple[int, ...]) -> None:
    assert PageRanges.parse(text).resolve(count) == pages


@pytest.mark.parametrize("text", ["", "0", "1-0", "a", "1,,2", "3-1", "-1--3", "1-2-3", "all,1", "1.5"])
def test_what_is_no_page_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="page range|ends before"):
        PageRanges.parse(text)
