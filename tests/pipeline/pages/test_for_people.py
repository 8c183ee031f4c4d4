from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pages.for_people import fit_for_people
from pipeline.pages.renderer import RenderChild
from pipeline.records import PageImage
from tests.support.hostile import Put, text_pdf


def test_a_usual_page_has_the_resolution_that_was_asked_for() -> None:
    size = fit_for_people(595, 842, 144)
    assert (size.width_px, size.height_px, size.dpi, size.visual_tokens) == (1190, 1684, 144.0, 0)


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6), st.integers(18, 1200))
def test_no_picture_is_too_large_or_empty(width_pt: float, height_pt: float, dpi: int) -> None:
    size = fit_for_people(width_pt, height_pt, dpi)
    assert size.width_px >= 1
    assert size.height_px >= 1
    assert size.width_px * size.height_px <= 12_000_000
    assert size.dpi <= dpi * 1.001


def test_pages_are_rendered_for_people_without_a_model(put: Put, child: RenderChild) -> None:
    (page,) = child.render(put("a.pdf", text_pdf(1)), [1], 72, None)
    assert isinstance(page, PageImage)
    assert (page.width_px, page.height_px, page.dpi) == (595, 842, pytest.approx(72))
