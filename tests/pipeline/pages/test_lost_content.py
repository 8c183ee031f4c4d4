from __future__ import annotations

import numpy as np
import pytest

from pipeline.pages.lost_content import content_lost, differ, is_uniform, lacks, picture_lost, shows_something
from pipeline.records import Image


def paper(*marks: tuple[int, int]) -> Image:
    """White paper of 20 x 20 cells, with a small black mark in some of them."""
    page = np.full((240, 240, 3), 255, np.uint8)
    for row, column in marks:
        page[12 * row + 3 : 12 * row + 9, 12 * column + 3 : 12 * column + 9] = 0
    return page


LINE = [(4, column) for column in range(2, 18)]
OTHER = [(15, column) for column in range(2, 18)]


def test_paper_of_any_colour_is_uniform_and_shows_nothing() -> None:
    for grey in (0, 128, 255):
        page = np.full((50, 30, 3), grey, np.uint8)
        assert is_uniform(page)
        assert not shows_something(page)
    assert not is_uniform(paper((0, 0)))
    assert shows_something(paper((0, 0)))


def test_a_picture_lacks_what_only_the_other_shows() -> None:
    assert lacks(paper(*LINE), paper(*LINE, *OTHER))
    assert not lacks(paper(*LINE, *OTHER), paper(*LINE))
    assert not lacks(paper(*LINE), paper(*LINE))
    assert not lacks(paper(*LINE), paper(*LINE, (10, 10)))  # one mark is what renderers disagree on


def test_less_has_to_differ_where_letters_are_guessed() -> None:
    mine, theirs = paper(*LINE, *OTHER, (10, 10)), paper(*LINE, *OTHER[:-4], *((18, column) for column in range(2, 6)))
    assert not differ(mine, theirs)
    assert differ(mine, theirs, guessed=True)
    assert not differ(mine, mine, guessed=True)


def test_other_letters_differ_and_letters_drawn_otherwise_do_not() -> None:
    shifted = np.roll(paper(*LINE, *OTHER), 1, axis=1)
    assert not differ(paper(*LINE, *OTHER), shifted)
    assert differ(paper(*LINE), paper(*OTHER))


@pytest.mark.parametrize(
    ("line", "picture", "content"),
    [
        ("padding truncated image", True, False),
        ("library error: cannot decode jbig2 image", True, False),
        ("library error: jpeg error: Not a JPEG file: starts with 0x31 0x32", True, False),
        ("syntax error: Failed to read JPX header", True, False),
        ("read error; treating as end of file", False, True),
        ("encountered syntax errors; page may not be correct", False, True),
        ("cannot load object (70 0 R) into cache", False, True),
        ("premature end of data in flate filter", False, True),
        ("ignoring zlib error: incorrect data check", False, True),
        ("line feed missing after stream begin marker (5 0 R)", False, False),
        ("unsupported error: cannot create appearance stream for  annotations", False, False),
    ],
)
def test_complaints_tell_pictures_from_content_and_both_from_what_is_harmless(
    line: str, picture: bool, content: bool
) -> None:
    assert (picture_lost([line]), content_lost([line])) == (picture, content)
