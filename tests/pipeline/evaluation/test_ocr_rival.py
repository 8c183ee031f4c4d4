"""OCR and the nearest-label rule, measured on the questions of a page like a model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from pipeline.datasets.example import Example, Region
from pipeline.evaluation.evaluate import Measured
from pipeline.evaluation.further_tables import confidence_scores
from pipeline.evaluation.ocr_rival import measure_ocr
from pipeline.evaluation.score_table import scores, table
from pipeline.records import PageImage
from pipeline.words import Words
from tests.support.measured import measured
from tests.support.page_words import page_of, words_of

TOTAL = Example(Path("a.pdf"), 1, "total", "Total?", ("93.94",), (Region(68 / 280, 0.0, 93 / 280, 10 / 140),))
TAX = Example(Path("a.pdf"), 1, "tax", "Tax?", ("7.00",), (Region(0.5, 0.5, 0.6, 0.6),))
GONE = Example(Path("a.pdf"), 1, "city", "City?", ("n/a",), (), answerable=False)


@dataclass
class Read:
    """Stands for OCR that reads these words."""

    found: Words | None

    def words(self, page: PageImage) -> Words | None:
        return self.found


def test_a_row_per_question() -> None:
    page = page_of("another text layer")
    rows = list(measure_ocr(Read(words_of("Total  93.94\nTax  7.08")), page, [TOTAL, TAX, GONE]))
    assert [(row.mode, row.answer, row.exact, row.pointed) for row in rows] == [
        ("ocr", "93.94", True, True),
        ("ocr", "7.08", False, False),
        ("ocr", "n/a", True, None),
    ]
    assert rows[0].iou == pytest.approx(1.0)
    assert rows[1].anls == 0.75
    known = {"page_ms", "pointed", "iou"}
    without = {field.name for field in fields(Measured) if getattr(rows[0], field.name) is None}
    assert {"confidence_raw", "retention", "kept_tokens", "new_tokens", "floor_hit", "prefill_ms"} <= without
    assert not known & without


def test_a_page_without_words_has_no_answers() -> None:
    assert [row.answer for row in measure_ocr(Read(None), page_of(""), [TOTAL, GONE])] == ["n/a", "n/a"]


def test_it_has_a_line_of_its_own_without_what_only_a_model_has() -> None:
    ocr = {"mode": "ocr", "confidence_raw": None, "retention": None, "kept_tokens": None}
    rows = [
        measured(page_ms=50.0),
        measured(page=2, page_ms=150.0),
        measured(**ocr, page_ms=1000.0),
        measured(**ocr, page_ms=1000.0, question_id="r"),  # of the same page
        measured(**ocr, page_ms=3000.0, page=2),
    ]
    first, second = scores(rows)
    assert (first.pages_per_s, second.pages_per_s, second.retention_mean) == (10.0, 0.5, None)
    head, off, other = (line.split() for line in table(scores(rows)).splitlines())
    assert (head[-1], off[-1], other[-1]) == ("pages/s", "10.00", "0.50")
    assert [score.mode for score in confidence_scores(rows)] == ["off"]
