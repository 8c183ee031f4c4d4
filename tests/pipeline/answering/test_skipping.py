"""A page that hardly holds an answer is left out of the question, and the answers to the others stay what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glimpseprune.rule import KeepRule
from pipeline.answering.open_page import ModelAnswer, Skipped
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.skipping import Skipping
from pipeline.errors import PageError
from pipeline.records import Ask
from tests.support.calibrations import word_reader
from tests.support.page_words import words_of

RULE = KeepRule(max_ratio=0.3)
ASKS = [
    Ask("a", "How many items?", "text", 9, RULE, text="How many items?"),
    Ask("b", "The vendor?", "text", 7, RULE, text="The vendor?"),
    Ask("c", "The total items?", "text", 5, RULE, text="The total items?"),
    Ask("d", "The customer?", "text", 6, RULE, text="The customer?"),
]
WORDS = words_of("Total 17.50\nVendor Blue Ltd")
IDS = frozenset("abcd")


def page(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (308, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain(tiny_base: Path, tiny_addon: Path) -> PageAnswerer:
    return PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


def skipping(plain: PageAnswerer, below: float = 0.3, fallback: bool = False, lanes: int = 1) -> PageAnswerer:
    answerer = PageAnswerer(plain.model, plain.processor)
    answerer.skipping = Skipping(word_reader(), below)
    answerer.fallback = fallback
    answerer.divide(lanes, 100)
    return answerer


def answered(
    answerer: PageAnswerer, pages: Sequence[int] = (0,), may_skip: frozenset[str] = IDS
) -> dict[int, list[ModelAnswer | Skipped]]:
    prepared = [(seed, partial(answerer.prepare, page(seed), ASKS, WORDS, may_skip)) for seed in pages]
    found = dict(answerer.answer_pages(prepared))
    assert not any(isinstance(one, PageError) for one in found.values())
    return found  # type: ignore[return-value]


def content(answer: ModelAnswer) -> tuple[Any, ...]:
    assert answer.keep is not None
    return answer.text, answer.finish_reason, answer.new_tokens, answer.keep.tolist(), answer.fallback


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("lanes", [1, 2])
def test_what_is_not_skipped_is_answered_as_ever_and_in_its_place(
    plain: PageAnswerer, fallback: bool, lanes: int
) -> None:
    as_ever = skipping(plain, fallback=fallback)
    as_ever.skipping = None
    expected = answered(as_ever, range(3))
    found = answered(skipping(plain, fallback=fallback, lanes=lanes), range(3))
    for seed, answers in found.items():
        assert [isinstance(answer, Skipped) for answer in answers] == [True, False, False, True]
        for answer, other, presence in zip(answers[1:3], expected[seed][1:3], (0.98, 0.5), strict=True):
            assert isinstance(answer, ModelAnswer)
            assert isinstance(other, ModelAnswer)
            assert content(answer) == content(other)
            assert answer.presence == pytest.approx(presence, abs=0.01)
            assert other.presence is None
        assert [round(answer.presence or 0, 2) for answer in answers if isinstance(answer, Skipped)] == [0.02, 0.02]


def test_a_page_of_which_no_question_is_left_is_not_decoded(
    plain: PageAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(plain.model.backbone), "logits", None)  # what decoding begins with
    (answers,) = answered(skipping(plain, below=1.0)).values()
    assert [type(answer) for answer in answers] == [Skipped] * 4
    told = [(answer.vision_ms is not None, answer.prefix_ms is not None) for answer in answers]  # type: ignore[union-attr]
    assert told == [(True, True)] + [(False, False)] * 3


def test_only_what_may_be_skipped_is(plain: PageAnswerer) -> None:
    (answers,) = answered(skipping(plain, below=1.0), may_skip=frozenset("b")).values()
    assert [isinstance(answer, Skipped) for answer in answers] == [False, True, False, False]
    (answers,) = answered(skipping(plain, below=1.0), may_skip=frozenset()).values()
    assert [isinstance(a, ModelAnswer) and a.presence is None for a in answers] == [True] * 4
    (answers,) = answered(skipping(plain, below=0.0)).values()
    assert [isinstance(a, ModelAnswer) and a.presence is not None for a in answers] == [True] * 4


def test_pages_that_are_left_unpruned_are_scored_too(plain: PageAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.answering.page_pruning.choose_pruning", _unpruned)
    answerer = skipping(plain)
    asks = [replace(ask, prune_auto=True) for ask in ASKS]
    prepared = answerer.prepare(page(0), asks, WORDS, IDS)
    ((_, answers),) = answerer.answer_pages([(0, lambda: prepared)])
    whole = PageAnswerer(plain.model, plain.processor).answer_page(page(0), [replace(ask, rule=None) for ask in ASKS])
    assert isinstance(answers, list)
    assert [answer.text if isinstance(answer, ModelAnswer) else None for answer in answers] == [
        None,
        whole[1].text,
        whole[2].text,
        None,
    ]


def _unpruned(*_: object) -> Any:
    from glimpseprune.cost.prune_or_not import PruningChoice

    return PruningChoice("unpruned", 1.0, 1.0)


def test_where_scoring_runs_out_of_memory_what_is_open_is_answered_first(
    plain: PageAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answered(skipping(plain), range(2))
    failures = [False, True]  # at the second page, which is then tried again
    from glimpseprune.page import EncodedPage

    original = EncodedPage.scores

    def scores(self: EncodedPage, questions: Any) -> Any:
        if failures and failures.pop(0):
            raise torch.OutOfMemoryError
        return original(self, questions)

    monkeypatch.setattr(EncodedPage, "scores", scores)
    found = answered(skipping(plain), range(2))
    for seed, answers in expected.items():
        assert [getattr(a, "text", None) for a in found[seed]] == [getattr(a, "text", None) for a in answers]
    failures[:] = [True]
    answerer = skipping(plain)
    ((_, error),) = answerer.answer_pages([(0, partial(answerer.prepare, page(0), ASKS, WORDS, IDS))])
    assert isinstance(error, PageError)
    assert error.error_type == "OutOfMemory"
