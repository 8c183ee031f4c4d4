"""Characters are placed by the middle of their ink, as another renderer of fonts finds it."""

from __future__ import annotations

import io

import pymupdf
import pytest
from PIL import ImageFont

from pipeline.nano.training.ink import ink_middle
from pipeline.samples.text import text_width

# Fonts that PyMuPDF brings; of the last it gives the box of the font as the box of every glyph.
FONTS = ("helv", "tibo", "cour", "china-s")
SIZE = 512


def middle_by_freetype(char: str, font: str) -> float:
    face = ImageFont.truetype(io.BytesIO(pymupdf.Font(font).buffer), SIZE)
    mask, (left, _) = face.getmask2(char)
    first, _, end, _ = mask.getbbox()
    return float(left + (first + end) / 2) / SIZE


@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("char", "aijlrITW17.,-é")
def test_the_middle_is_where_freetype_draws_it(char: str, font: str) -> None:
    assert ink_middle(char, font) == pytest.approx(middle_by_freetype(char, font), abs=0.02)


def test_a_blank_has_its_middle_in_the_middle_of_its_advance() -> None:
    assert ink_middle(" ", "helv") == pytest.approx(text_width(" ", "helv", 1.0) / 2)
