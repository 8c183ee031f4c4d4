"""Small work for the tests: documents, settings and answers without a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from glimpseprune.errors import InputError
from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats
from pipeline.answering.open_page import ModelAnswer
from pipeline.confidence.signals import signals_of
from pipeline.errors import PageError
from pipeline.frame import WHOLE_PAGE
from pipeline.questions.file import QuestionSet, parse_questions
from pipeline.records import (
    AnswerSettings,
    Ask,
    Image,
    PixelBudget,
)

SIGNALS = signals_of([math.log(0.5)] * 4, [1.0] * 4)
SETTINGS = AnswerSettings(
    model="m",
    model_fingerprint="1234",
    glimpse="g",
    glimpse_fingerprint="5678",
    rule=KeepRule(),
    dpi=72,
    budget=PixelBudget(28, 3136, 256 * 784, "pipeline.families.qwen2_5_vl"),
    dtype="auto",
    seed=0,
)


def questions(*texts: str, extra: str = "") -> QuestionSet:
    body = "\n".join(f"  - {{{text}}}" for text in texts or ("id: a, text: What a", "id: b, text: What b"))
    return parse_questions(f"version: 1\n{extra}questions:\n{body}\n", "q.yaml")


def one_by_one(
    answer: Callable[[Image, Sequence[Ask]], list[ModelAnswer]],
    pages: Iterable[tuple[Any, Callable[[], tuple[Image, Sequence[Ask]]]]],
) -> Iterator[tuple[Any, list[ModelAnswer] | PageError]]:
    """What a page_answerer without a pool yields; its page errors are results, what else it raises gets out."""
    for key, prepared in pages:
        try:
            yield key, answer(*prepared())
        except PageError as error:
            yield key, error
        except InputError as error:
            yield key, PageError("infer", "InputError", str(error))


class FakePageAnswerer:
    """Answers with the page's mean grey and the prompt; raises what it is told to for some pages."""

    def __init__(self, raises: Sequence[BaseException | None] = ()) -> None:
        self.raises = list(raises)
        self.pages = 0
        self.model_ms = 0.0
        self.skipping = None

    def prepare(
        self, page: Image, asks: Sequence[Ask], words: object = None, may_skip: Sequence[str] = ()
    ) -> tuple[Image, Sequence[Ask]]:
        return page, asks

    def prepare_together(self, pages: list[Image], asks: Sequence[Ask]) -> tuple[list[Image], Sequence[Ask]]:
        return pages, asks

    def answer_pages(
        self, pages: Iterable[tuple[Any, Callable[[], tuple[Image | list[Image], Sequence[Ask]]]]]
    ) -> Iterator[tuple[Any, list[ModelAnswer] | PageError]]:
        return one_by_one(self._answer_page, pages)

    def _answer_page(self, page: Image | list[Image], asks: Sequence[Ask]) -> list[ModelAnswer]:
        pages = page if isinstance(page, list) else [page]
        self.pages += 1
        self.model_ms += 0.01
        error = self.raises.pop(0) if self.raises else None
        if error is not None:
            raise error
        grids = tuple((page.shape[0] // 28, page.shape[1] // 28) for page in pages)
        total = sum(rows * columns for rows, columns in grids)
        means = "+".join(f"{page.mean():.2f}" for page in pages)
        frames = (WHOLE_PAGE,) * len(pages)
        keep = np.zeros(total, dtype=bool)
        keep[: total // 10] = True
        stats = PruneStats(total, int(keep.sum()), False, False, total + 9, 50, 1000, 50, 1.5, 2.5, 3.5)
        return [
            ModelAnswer(
                f"{means} {ask.prompt}", "stop", SIGNALS, 4, stats, keep, keep.astype(np.float32), grids, frames=frames
            )
            for ask in asks
        ]


def page_error() -> PageError:
    return PageError("infer", "OutOfMemory", "too large")


def assert_alike(found: Any, expected: Any) -> None:
    """Equal in everything, floats to one in ten thousand: how a sum is split among threads changes its last digits."""
    if isinstance(expected, float) and isinstance(found, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_alike(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        assert found == expected
