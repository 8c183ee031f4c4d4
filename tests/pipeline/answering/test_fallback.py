"""What is asked again without pruning comes out as if it had never been pruned; the rest stays as it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glimpseprune.families.qwen2_5_vl import Qwen25VL
from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats
from pipeline.answering.fallback import reason_for
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.confidence.signals import signals_of
from pipeline.records import Ask

RULE = KeepRule(max_ratio=0.3)
ASKS = [
    Ask("a", "How many are there?", "text", 9, RULE),
    Ask("b", "Who?", "text", 7, RULE),
    Ask("c", "Name all the people.", "text", 9, RULE),
    Ask("d", "Which?", "choice", 20, RULE, choices=("red", "blue"), choice_probabilities=True),
    Ask("e", "When?", "text", 5, None),
]
STATS = PruneStats(10, 3, False, False, 20, 13, 100, 65)
KEEP, SCORES = np.ones(10, bool), np.zeros(10, np.float32)


def made(confidence: float = 0.9, floor_hit: bool = False, pruned: bool = True) -> ModelAnswer:
    stats = replace(STATS, floor_hit=floor_hit)
    signals = signals_of([math.log(confidence)] * 2, [1.0] * 2)
    return ModelAnswer("x", "stop", signals, 2, stats, KEEP if pruned else None, SCORES if pruned else None, ((2, 5),))


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("How many items are listed?", "question"),
        ("What is the number of items?", "question"),
        ("What is the number of the invoice?", None),
        ("What is the invoice number?", None),
        ("List the names.", "question"),
        ("Which items cost more than 10?", "question"),
        ("Which amount is the largest?", "question"),
        ("Wie viele Seiten?", "question"),
        ("Combien de pages ?", "question"),
        ("Who is the account holder?", None),
        ("What is the total?\nAnswer with a single word or phrase. If the page does not say, answer n/a.", None),
        ("Which?\nAnswer with one of: a, b. If the page does not say, answer n/a.", None),
    ],
)
def test_questions_that_need_the_whole_page_are_known_by_their_words(prompt: str, reason: str | None) -> None:
    assert reason_for(Ask("a", prompt, "text", 9, RULE), made()) == reason


def test_doubtful_answers_are_asked_again_and_unpruned_ones_never() -> None:
    ask = Ask("a", "Who?", "text", 9, RULE)
    assert reason_for(replace(ask, type="list", items="text"), made()) == "question"
    assert reason_for(ask, made(floor_hit=True)) == "floor"
    assert reason_for(ask, made(confidence=0.49)) == "confidence"
    assert reason_for(ask, made(confidence=0.5)) is None
    assert reason_for(replace(ask, prompt="How many?"), made(0.1, True, pruned=False)) is None


def page(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (308, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain(tiny_base: Path, tiny_addon: Path) -> PageAnswerer:
    return PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


@pytest.fixture
def again(plain: PageAnswerer) -> PageAnswerer:
    answerer = PageAnswerer(plain.model, plain.processor)
    answerer.fallback = True
    return answerer


def test_the_answer_is_the_unpruned_one_and_the_row_says_so(plain: PageAnswerer, again: PageAnswerer) -> None:
    pruned = plain.answer_page(page(0), ASKS)
    unpruned = plain.answer_page(page(0), [replace(ask, rule=None) for ask in ASKS])
    reasons = [reason_for(*one) for one in zip(ASKS, pruned, strict=True)]
    assert reasons[0] == reasons[2] == "question"
    assert reasons[4] is None
    found = again.answer_page(page(0), ASKS)
    assert [answer.fallback for answer in found] == reasons
    for answer, first, second, reason in zip(found, pruned, unpruned, reasons, strict=True):
        if reason is None:
            assert (answer.text, answer.pruned_text) == (first.text, None)
            continue
        assert (answer.text, answer.pruned_text) == (second.text, first.text)
        assert answer.signals.confidence_raw == pytest.approx(second.signals.confidence_raw, abs=1e-4)
        assert answer.stats.kept_tokens == answer.stats.visual_tokens == second.stats.visual_tokens
        assert answer.new_tokens == first.new_tokens + second.new_tokens
        assert answer.scores is not None
        assert first.scores is not None
        assert answer.scores.tolist() == first.scores.tolist()
        assert not answer.stats.floor_hit
    if reasons[3] is not None:
        rows = [answer.choice_probabilities or () for answer in (found[3], unpruned[3])]
        mine, wanted = ([one.probability for one in row] for row in rows)
        assert mine == pytest.approx(wanted, rel=1e-3)


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[Any]:
    calls: list[Any] = []
    original: Callable[..., Any] = getattr(owner, name)

    def noted(*args: Any, **named: Any) -> Any:
        calls.append(args)
        return original(*args, **named)

    monkeypatch.setattr(owner, name, noted)
    return calls


@pytest.mark.parametrize("threads", [1, 2], ids=["one lane", "two lanes"])
def test_pages_together_are_pages_alone_and_are_read_once(
    again: PageAnswerer, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    pages = {number: (page(number), ASKS[number % 3 :]) for number in range(4)}
    alone = {number: again.answer_page(*one) for number, one in pages.items()}
    again.divide(threads, 100)
    read = counted(monkeypatch, Qwen25VL, "encode")
    prepared = [(key, partial(again.prepare, *one)) for key, one in pages.items()]
    for key, answers in again.answer_pages(prepared):
        assert isinstance(answers, list)
        assert [(a.text, a.fallback, a.pruned_text) for a in answers] == [
            (a.text, a.fallback, a.pruned_text) for a in alone[key]
        ]
    assert len(read) == len(pages)


def test_masks_that_are_given_are_no_pruning_to_fall_back_from(again: PageAnswerer) -> None:
    masks = [np.ones(88, bool)] * 2
    answers = again.answer_page(page(1), [replace(ask, rule=None) for ask in ASKS[:2]], masks)
    assert [answer.fallback for answer in answers] == [None, None]
