"""PDFs damaged in thirteen ways: every page is a picture or a typed failure, in time and within the memory limit.

`python benchmarks/robustness.py` does the same with 300 real ones, in a whole run.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from pipeline.errors import PageError
from pipeline.pages.limits import RenderLimits
from pipeline.pages.renderer import RenderChild
from pipeline.records import PageFailure, PageImage, PixelBudget
from pipeline.samples.document import make_sample
from tests.support.damaged import DAMAGES, damaged
from tests.support.hostile import Put, text_pdf
from tests.support.written_pdf import WORDS, words_pdf

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
LIMITS = RenderLimits(open_seconds=5.0, page_seconds=3.0, document_seconds=6.0, memory_bytes=1 << 30)
TYPES = {"RenderTimeout", "RenderCrash", "RenderOutOfMemory", "DocumentTimeout", "CorruptDocument", "CorruptPage"}
TYPES |= {"UnsupportedDocument", "UnsupportedPage", "EncryptedDocument", "EmptyDocument", "PageTooLarge", "NoSuchPage"}
TYPES |= {"DamagedDocument"}


@pytest.mark.slow
def test_every_page_of_a_damaged_pdf_is_a_picture_or_a_typed_failure(put: Put) -> None:
    sound = [make_sample(7).pdf(), text_pdf(3)]
    files = damaged(sound, 2 * len(DAMAGES), seed=4)
    assert files == damaged(sound, 2 * len(DAMAGES), seed=4)
    drawn, failed = 0, set()
    with RenderChild(LIMITS) as child:
        for name, content in files:
            document = put(name, content)
            began = time.monotonic()
            try:
                pages = range(1, min(child.count_pages(document), 4) + 1)
            except PageError as error:
                failed.add(error.error_type)
                continue
            found = list(child.render(document, pages, 72, BUDGET))
            assert [page.page for page in found] == list(pages)
            drawn += sum(isinstance(page, PageImage) for page in found)
            failed |= {page.failure.error_type for page in found if isinstance(page, PageFailure)}
            assert time.monotonic() - began < 40, name
            status = Path(f"/proc/{child.pid}/status")  # of a child that crashed there is none, or no memory in it
            for peak in re.findall(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else ""):
                assert int(peak) << 10 <= LIMITS.memory_bytes
    assert drawn > len(DAMAGES)
    assert failed <= TYPES, failed - TYPES


def test_what_mupdf_quotes_of_a_damaged_page_is_text_that_a_table_can_hold(put: Put) -> None:
    junk = b"+~\xd8\x9f\xc2\xf3\xd5nb begin\n"
    files = {"a.pdf": words_pdf(junk + b"(cut"), "b.pdf": words_pdf(junk + WORDS)}
    with RenderChild(LIMITS) as child:
        lost, drawn = [next(iter(child.render(put(*file), [1], 72, BUDGET))) for file in files.items()]
    assert isinstance(lost, PageFailure)
    assert lost.failure.error_type == "CorruptPage"
    assert isinstance(drawn, PageImage)
    for told in (lost.failure.error_message, drawn.warnings or ""):
        assert "\\udcf3" in told
        assert told.encode()
