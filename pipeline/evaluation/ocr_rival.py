"""Measures OCR and a rule on the questions that a model is measured on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from pipeline.answering.page_text import PageText
from pipeline.datasets.example import Example
from pipeline.evaluation.evaluate import Measured, on_share, scored
from pipeline.evaluation.nearest_label import nearest_value
from pipeline.evaluation.pointing import overlap, points_at
from pipeline.questions.no_answer import NO_ANSWER
from pipeline.records import Evidence, PageImage
from pipeline.words import Words


class ReadsWords(Protocol):
    """Reads the words of a page off its picture."""

    def words(self, page: PageImage) -> Words | None:
        """Read the words of a page; ``None`` where there are none."""


def measure_ocr(reader: ReadsWords, page: PageImage, examples: Sequence[Example]) -> Iterator[Measured]:
    """Answer the examples of one page by OCR and the nearest-label rule, whether or not it has a text layer.

    Args:
        reader: what reads the page.
        page: rendered page.
        examples: examples on this page.
    """
    start = time.perf_counter()
    words = reader.words(page)
    text = None if words is None else PageText(words)
    values = [None if text is None else nearest_value(example.question, text) for example in examples]
    page_ms = (time.perf_counter() - start) * 1e3
    for example, value in zip(examples, values, strict=True):
        row = replace(scored(example, "ocr", NO_ANSWER if value is None else value.text), page_ms=page_ms)
        if value is not None and example.regions:
            at = [on_share(Evidence(*value.box, None), page)]
            row = replace(row, pointed=points_at(at, example.regions), iou=overlap(at, example.regions))
        yield row
