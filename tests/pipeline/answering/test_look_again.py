"""What is not sure is asked again, on the page at other sizes, and the surest answer stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image as Pillow

from glimpseprune.rule import KeepRule
from pipeline.answering.look_again import LookedAgain, at_another_size
from pipeline.answering.open_page import ModelAnswer, OpenPage
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.prefilling import Prefiller
from pipeline.records import Ask, Image, OtherAnswer
from tests.support.helpers import page_error

RULE = KeepRule(max_ratio=0.3)
ASKS = [
    Ask("a", "Who?", "text", 7, RULE),
    Ask("b", "When?", "text", 5, None),
    Ask("c", "How much is it?", "number", 6, RULE),
    Ask("d", "Which?", "choice", 20, RULE, choices=("red", "blue"), choice_probabilities=True),
]
HEIGHT, WIDTH = 308, 224  # 11 x 8 cells


def page(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(pixels: Image, height: int, width: int) -> Image:
    return np.asarray(Pillow.fromarray(pixels).resize((width, height), Pillow.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def once(tiny_base: Path, tiny_addon: Path) -> PageAnswerer:
    return PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


def looking_again(once: PageAnswerer, below: float) -> PageAnswerer:
    answerer = PageAnswerer(once.model, once.processor)
    answerer.look_again = below
    return answerer


def told(answers: Sequence[object]) -> list[tuple[object, ...]]:
    assert all(isinstance(answer, ModelAnswer) for answer in answers)
    return [
        (a.text, a.look, [(o.answer, o.look) for o in a.others], a.grids) for a in answers if isinstance(a, ModelAnswer)
    ]


class TestAnswers:
    def test_the_surest_one_stays_with_the_cost_of_all(self, once: PageAnswerer) -> None:
        looks: set[tuple[int, int]] = set()
        for seed in range(4):
            sizes = ((HEIGHT, WIDTH), (HEIGHT + 28, WIDTH + 28), (HEIGHT + 56, WIDTH + 56))
            seen = [once.answer_page(resized(page(seed), *size), ASKS) for size in sizes]
            found = looking_again(once, 1.0).answer_page(page(seed), ASKS)
            for answer, *each in zip(found, *seen, strict=True):
                if each[0].text == each[1].text:
                    del each[2]
                sure = {answer.text: 0.0 for answer in each}
                for one in each:
                    sure[one.text] += one.signals.confidence_raw
                most = max(sure, key=lambda text: sure[text])
                assert answer.text == most
                earlier = max(each[:2], key=lambda o: o.signals.confidence_raw)
                same = [o for o in each if o.text == most] if earlier.text == most else each[2:]
                wanted = max(same, key=lambda o: o.signals.confidence_raw)
                assert each[answer.look - 1] is wanted
                others = [(o.text, number) for number, o in enumerate(each, 1) if number != answer.look]
                assert [(other.answer, other.look) for other in answer.others] == others
                assert answer.signals.logprob_mean == pytest.approx(wanted.signals.logprob_mean, abs=1e-4)
                assert answer.grids == wanted.grids == ((10 + answer.look, 7 + answer.look),)
                assert (answer.keep is None) == (wanted.keep is None)
                if answer.keep is not None and wanted.keep is not None:
                    assert answer.keep.tolist() == wanted.keep.tolist()
                assert answer.stats.visual_tokens == wanted.stats.visual_tokens
                assert answer.stats.kept_tokens == wanted.stats.kept_tokens
                assert answer.new_tokens == sum(one.new_tokens for one in each)
                looks.add((answer.look, len(each)))
        assert {look for look, _ in looks} == {1, 2, 3}
        assert {number for _, number in looks} == {2, 3}

    def test_votes_of_looks_that_agree_add_up(self, once: PageAnswerer) -> None:
        made = once.answer_page(page(0), ASKS[:1])[0]

        def said(text: str, confidence: float) -> ModelAnswer:
            signals = replace(made.signals, confidence_raw=confidence)
            return replace(made, text=text, signals=signals)

        def after(*answers: ModelAnswer) -> ModelAnswer:
            taken = answers[0]
            for look, answer in enumerate(answers[1:], 2):
                (taken,) = LookedAgain(cast(OpenPage, None), [taken], (0,), (), look).merged([answer])
            return taken

        found = after(said("a", 0.6), said("b", 0.7), said("a", 0.5))
        assert (found.text, found.look, found.signals.confidence_raw) == ("a", 3, 0.5)
        assert found.others == (OtherAnswer("a", 0.6, 1), OtherAnswer("b", 0.7, 2))
        found = after(said("a", 0.6), said("b", 0.7), said("c", 0.65))
        assert (found.text, found.look) == ("b", 2)
        found = after(said("a", 0.3), said("b", 0.9), said("a", 0.5))
        assert (found.text, found.look) == ("b", 2)
        found = after(said("a", 0.6), said("a", 0.6))
        assert (found.text, found.look) == ("a", 1)

    def test_times_add_up_where_they_were_measured(self, once: PageAnswerer) -> None:
        first, second = once.answer_page(page(0), ASKS[:1] * 2)
        first, second = (
            replace(answer, stats=replace(answer.stats, **times))
            for answer, times in (
                (first, {"prefill_ms": 1.0, "decode_ms": 2.0, "prefix_ms": None, "vision_ms": 4.0}),
                (second, {"prefill_ms": None, "decode_ms": 32.0, "prefix_ms": 64.0, "vision_ms": 8.0}),
            )
        )
        again = LookedAgain(cast(OpenPage, None), [first], (0,), (), 2)
        (stats,) = [answer.stats for answer in again.merged([second])]
        assert (stats.prefill_ms, stats.decode_ms, stats.prefix_ms, stats.vision_ms) == (1.0, 34.0, 64.0, 12.0)

    def test_what_is_sure_enough_is_asked_once(self, once: PageAnswerer) -> None:
        first = once.answer_page(page(0), ASKS)
        sure = sorted(answer.signals.confidence_raw for answer in first)
        between = (sure[1] + sure[2]) / 2
        found = looking_again(once, between).answer_page(page(0), ASKS)
        for answer, one in zip(found, first, strict=True):
            if one.signals.confidence_raw < between:
                assert answer.others
            else:
                assert (answer.text, answer.look, answer.others) == (one.text, 1, ())
                assert answer.new_tokens == one.new_tokens
        assert sum(not answer.others for answer in found) == 2

    def test_without_a_limit_nothing_is_asked_twice(self, once: PageAnswerer) -> None:
        assert {answer.others for answer in looking_again(once, 0.0).answer_page(page(0), ASKS)} == {()}

    @pytest.mark.parametrize("threads", [1, 2], ids=["one lane", "two lanes"])
    def test_of_pages_together_are_those_of_pages_alone(self, once: PageAnswerer, threads: int) -> None:
        answerer = looking_again(once, 0.9)
        pages = {number: (page(number), ASKS[number % 3 :]) for number in range(4)}
        alone = {number: told(answerer.answer_page(*one)) for number, one in pages.items()}
        answerer.divide(threads, 100)
        prepared = [(key, partial(answerer.prepare, *one)) for key, one in pages.items()]
        for key, answers in answerer.answer_pages(prepared):
            assert isinstance(answers, list)
            assert told(answers) == alone[key]

    def test_about_several_pages_at_once(self, once: PageAnswerer) -> None:
        answerer = looking_again(once, 1.0)
        shown = [page(1), page(2, 168, 112)]
        other = [resized(shown[0], HEIGHT + 28, WIDTH + 28), resized(shown[1], 196, 140)]
        ((_, found),) = answerer.answer_pages([(0, partial(answerer.prepare_together, shown, ASKS[:2]))])
        third = [resized(shown[0], HEIGHT + 56, WIDTH + 56), resized(shown[1], 224, 168)]
        each = [
            told(answers)
            for seen in (shown, other, third)
            for _, answers in once.answer_pages([(0, partial(once.prepare_together, seen, ASKS[:2]))])
            if isinstance(answers, list)
        ]
        assert isinstance(found, list)
        for place, answer in enumerate(found):
            assert isinstance(answer, ModelAnswer)
            for text, look in [(answer.text, answer.look), *((other.answer, other.look) for other in answer.others)]:
                assert text == each[look - 1][place][0]
            assert answer.grids == each[answer.look - 1][place][3]

    def test_what_was_asked_again_without_pruning_is_not_looked_at_again(self, once: PageAnswerer) -> None:
        answerer = looking_again(once, 1.0)
        answerer.fallback = True
        asks = [replace(ASKS[0], prompt="How many are there?"), *ASKS[1:]]
        first, *rest = answerer.answer_page(page(0), asks)
        assert (first.fallback, first.look, first.others) == ("question", 1, ())
        for answer in rest:
            assert (answer.fallback is None) == bool(answer.others)
        assert rest[0].others

    def test_masks_that_are_given_are_for_one_size(self, once: PageAnswerer) -> None:
        masks = [np.ones(88, bool)] * 2
        answers = looking_again(once, 1.0).answer_page(page(1), [replace(ask, rule=None) for ask in ASKS[:2]], masks)
        assert {answer.others for answer in answers} == {()}

    def test_where_memory_is_short_the_first_answers_stay(
        self, once: PageAnswerer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = Prefiller.prefill
        calls: list[int] = []

        def short(self: Prefiller, *arguments: object) -> object:
            calls.append(1)
            if len(calls) > 1:
                raise page_error()
            return whole(self, *arguments)  # type: ignore[arg-type]

        first = told(once.answer_page(page(0), ASKS))
        monkeypatch.setattr(Prefiller, "prefill", short)
        assert told(looking_again(once, 1.0).answer_page(page(0), ASKS)) == first
        assert len(calls) == 2


class TestSize:
    def test_is_larger_by_whole_cells(self, once: PageAnswerer) -> None:
        found = at_another_size(page(0, 728, 84), once.processor, 1)
        assert found is not None
        assert found.tolist() == resized(page(0, 728, 84), 784, 112).tolist()

    def test_paper_stays_paper(self, once: PageAnswerer) -> None:
        found = at_another_size(np.full((HEIGHT, WIDTH, 3), 241, np.uint8), once.processor, 2)
        assert found is not None
        assert np.unique(found).tolist() == [241]

    def test_is_smaller_where_the_model_takes_no_larger(
        self, once: PageAnswerer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images = once.processor.images  # type: ignore[attr-defined]
        limits = {"shortest_edge": images.size["shortest_edge"], "longest_edge": HEIGHT * WIDTH}
        monkeypatch.setattr(images, "size", limits)
        found = at_another_size(page(0), once.processor, 1)
        assert found is not None
        assert found.shape == (HEIGHT - 28, WIDTH - 28, 3)

    def test_is_none_where_the_model_takes_one_only(self, once: PageAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
        images = once.processor.images  # type: ignore[attr-defined]
        monkeypatch.setattr(images, "size", {"shortest_edge": HEIGHT * WIDTH, "longest_edge": HEIGHT * WIDTH})
        assert at_another_size(page(0), once.processor, 1) is None
        assert told(looking_again(once, 1.0).answer_page(page(0), ASKS)) == told(once.answer_page(page(0), ASKS))

    def test_is_none_for_a_picture_of_no_size_that_the_model_takes(self, once: PageAnswerer) -> None:
        assert at_another_size(page(0, 300, 200), once.processor, 1) is None
