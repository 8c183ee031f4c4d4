from __future__ import annotations

import numpy as np
import pytest

from pipeline.pages.ink import Ink
from pipeline.pages.renderer import decode_image
from tests.support.page_words import page_of, words_of

TEXT = "Total: 75.00\nsent"


def ink_of(text: str) -> Ink:
    return Ink(decode_image(page_of(text)), 280.0, 140.0)


def test_words_are_told_apart_by_the_blanks_between_them() -> None:
    found = list(ink_of(TEXT).words_in((0, 0, 280, 140)))
    expected = np.array(words_of(TEXT).corners).reshape(-1, 4)
    assert [len(line) for line in found] == [2, 1]
    assert np.abs(np.array([word for line in found for word in line]) - expected).max() <= 1.0


def test_rules_and_frames_are_no_print() -> None:
    picture = decode_image(page_of(TEXT)).copy()
    picture[24:26], picture[:, 4:6] = 0, 0
    found = list(Ink(picture, 280.0, 140.0).words_in((0, 0, 280, 140)))
    assert [len(line) for line in found] == [2, 1]


def test_print_may_be_light_on_dark_paper() -> None:
    found = list(Ink(255 - decode_image(page_of(TEXT)), 280.0, 140.0).words_in((0, 0, 280, 140)))
    assert [len(line) for line in found] == [2, 1]


def test_something_is_drawn_where_words_are_and_a_line_across_is_nothing() -> None:
    picture = decode_image(page_of(TEXT)).copy()
    picture[90:92] = 0
    ink = Ink(picture, 280.0, 140.0)
    assert ink.under((10, 0, 40, 10))
    assert not ink.under((100, 20, 140, 30))
    assert not ink.under((100, 40, 140, 50))
    assert not ink.under((279.9, 139.9, 280, 140))


@pytest.mark.parametrize(("box", "share"), [((0, 0, 280, 140), 6 / 15), ((0, 0, 38, 15), 1.0), ((0, 20, 280, 40), 0.0)])
def test_the_share_that_boxes_cover_is_of_what_is_drawn(box: tuple[float, ...], share: float) -> None:
    covers = np.array([(10.0, 0.0, 40.0, 10.0)])
    assert ink_of(TEXT).covered(box, covers) == pytest.approx(share, abs=0.02)


def test_nothing_drawn_is_covered() -> None:
    assert ink_of(TEXT).covered((100, 60, 200, 80), np.zeros((0, 4))) == 1.0
