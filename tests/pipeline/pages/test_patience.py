"""How long a document is tried that hangs or crashes its renderers."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.errors import PageError
from pipeline.pages.limits import RenderLimits
from pipeline.pages.patience import Patience
from pipeline.pages.renderer import RenderChild
from pipeline.records import PageFailure, PixelBudget
from tests.support.hostile import as_document
from tests.support.written_pdf import endless_pdf

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
HANG = PageError("render", "RenderTimeout", "too late")


def test_a_document_each_of_whose_pages_hangs_is_given_up_after_three(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(endless_pdf(200))
    document = as_document(tmp_path / "a.pdf")
    started = time.monotonic()
    with RenderChild(RenderLimits(page_seconds=0.5)) as child:
        results = list(child.render(document, range(1, 201), 72, BUDGET))
    assert time.monotonic() - started < 30
    failures = [result.failure for result in results if isinstance(result, PageFailure)]
    assert len(failures) == 200
    assert {failure.error_type for failure in failures} == {"RenderTimeout"}
    assert all(failure.error_message.startswith("not tried: 3 pages in a row") for failure in failures[3:])


def test_after_three_pages_in_a_row_the_second_renderer_draws_the_rest() -> None:
    patience = Patience(100.0)
    for _ in range(3):
        assert patience.renderer("d") == "mupdf"
        patience.strike("d", "mupdf", HANG)
    assert patience.renderer("d") == "pdfium"
    assert patience.given_up("d") is None
    assert patience.renderer("other") == "mupdf"
    patience.strike("d", "pdfium", HANG)
    failure = patience.given_up("d")
    assert failure is not None
    assert failure.error_type == "RenderTimeout"


def test_pages_that_hang_now_and_then_are_not_in_a_row() -> None:
    patience = Patience(100.0)
    for _ in range(5):
        patience.strike("d", "mupdf", HANG)
        patience.strike("d", "mupdf", HANG)
        patience.relieved("d")
    assert patience.renderer("d") == "mupdf"


def test_a_document_that_takes_its_time_is_given_up() -> None:
    patience = Patience(10.0)
    patience.spend("d", 9.0)
    assert patience.given_up("d") is None
    patience.spend("d", 2.0)
    failure = patience.given_up("d")
    assert failure is not None
    assert (failure.error_type, "--document-seconds" in failure.error_message) == ("DocumentTimeout", True)
    assert patience.given_up("other") is None
