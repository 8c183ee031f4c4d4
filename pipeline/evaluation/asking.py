"""Asks the questions of a page in one mode: pruned by its method, to the share of visual tokens that is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

import glimpseprune as gp
from glimpseprune.comparing import Apart, contender, prefill_compared
from pipeline.answering.open_page import ModelAnswer, OpenPage
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.visible_tokens import seen_on_page
from pipeline.evaluation.modes import Mode
from pipeline.records import Ask, Image

Asked = Iterator[tuple[float | None, list[ModelAnswer]]]
"""Each share of tokens that was asked for, with the answers to all questions."""


class ModeAsker:
    """Asks the questions of one page after the other, in any mode.

    Args:
        page_answerer: page answerer to measure.
        rule: keep rule of the mode ``glimpse``.
    """

    def __init__(self, page_answerer: PageAnswerer, rule: gp.KeepRule | None) -> None:
        self.page_answerer, self.rule = page_answerer, rule
        self._askers: dict[Mode, PageAnswerer | Apart] = {}

    def ask(
        self,
        mode: Mode,
        page: Image,
        asks: Sequence[Ask],
        shares: Sequence[float | None],
        found: Sequence[float],
        seed: int,
    ) -> Asked:
        """Ask all questions at each share.

        Args:
            mode: way in which the page is pruned.
            page: the pixels, ``[height, width, 3]``.
            asks: the questions, without a rule.
            shares: shares of the visual tokens to keep; ``None`` keeps what the rule keeps or, in other modes than
                ``glimpse``, as large a share as was ``found``.
            found: share of the tokens that ``glimpse`` kept for each question, in 0..1; empty if it was not asked.
            seed: seed of the random masks.
        """
        total = math.prod(self.page_answerer.processor.token_grid(self.page_answerer.processor.prepare(page)))
        kept = [max(1, round(share * total)) for share in found]
        every = [kept if s is None else [max(1, int(s * total))] * len(asks) for s in shares]
        if mode == "off":
            yield None, self.page_answerer.answer_page(page, asks)
        elif mode == "glimpse":
            rules = [self.rule if s is None or self.rule is None else replace(self.rule, max_ratio=s) for s in shares]
            yield from _by_rules(self.page_answerer, page, asks, shares, [[rule] * len(asks) for rule in rules])
        elif mode == "random":
            for share, counts in zip(shares, every, strict=True):
                yield share, self.page_answerer.answer_page(page, asks, self._random(page, counts, seed))
        elif isinstance(asker := self._asker(mode), PageAnswerer):
            exact = [[exactly(count, total) for count in counts] for counts in every]
            yield from _by_rules(asker, page, asks, shares, exact)
        else:
            for share, counts in zip(shares, every, strict=True):
                yield share, self._apart(page, asks, asker, counts)

    def _asker(self, mode: Mode) -> PageAnswerer | Apart:
        """Return what asks in a mode: a page answerer with another method, or a method with a prefill of its own."""
        if mode not in self._askers:
            method = contender(mode, self.page_answerer.model)
            if isinstance(method, Apart):
                self._askers[mode] = method
            else:
                asker = PageAnswerer(replace(self.page_answerer.model, method=method), self.page_answerer.processor)
                asker.drop_blank = self.page_answerer.drop_blank
                self._askers[mode] = asker
        return self._askers[mode]

    def _random(self, page: Image, counts: Sequence[int], seed: int) -> list[npt.NDArray[np.bool_]]:
        seen = seen_on_page(self.page_answerer.processor, page, self.page_answerer.drop_blank).numpy()
        rng = np.random.default_rng([seed, len(counts), *counts])
        return [_random_mask(rng, min(count, int(seen.sum())), seen) for count in counts]

    def _apart(self, page: Image, asks: Sequence[Ask], method: Apart, counts: Sequence[int]) -> list[ModelAnswer]:
        answerer, model = self.page_answerer, self.page_answerer.model
        prepared = answerer.prepare(page, asks)
        read = answerer.prefiller.read(prepared, [None] * len(asks))
        tails = [prompt[read.prefix_ids.numel() :] for prompt in prepared.prompts]
        sequences, stats = prefill_compared(read, method, tails, counts)
        opened = OpenPage(
            asks=tuple(asks),
            prompts=prepared.prompts,
            sequences=sequences,
            stats=stats,
            constraints=[None] * len(asks),
            grids=tuple(answerer.processor.token_grid(image) for image in prepared.images),
            frames=tuple(image.frame for image in prepared.images),
            pruning=None,
            read=None,
            began_at_s=0.0,
            memory_mark=0,
        )
        pool = gp.DecodePool(model.backbone, model.eos_token_ids, model.repetition_penalty)
        opened.enter(pool, 0)
        pool.run()
        return opened.answers(pool, 0, answerer.processor, model.eos_token_ids)


def exactly(count: int, total: int) -> gp.KeepRule:
    """Make the rule that keeps the best ``count`` of ``total`` tokens, whatever their scores.

    Args:
        count: number of tokens to keep.
        total: number of visual tokens of the page.
    """
    return gp.KeepRule(threshold=0.0, max_ratio=min(1.0, (count + 0.5) / total))


def _by_rules(
    page_answerer: PageAnswerer,
    page: Image,
    asks: Sequence[Ask],
    shares: Sequence[float | None],
    rules: Sequence[Sequence[gp.KeepRule | None]],
) -> Asked:
    """Ask all questions at all shares at once, since they have the layers up to K in common."""
    every = [replace(ask, rule=rule) for mine in rules for ask, rule in zip(asks, mine, strict=True)]
    answers = page_answerer.answer_page(page, every)
    for number, share in enumerate(shares):
        yield share, answers[number * len(asks) : (number + 1) * len(asks)]


def _random_mask(rng: np.random.Generator, count: int, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Keep some of the tokens that are seen."""
    mask = np.zeros_like(seen)
    mask[rng.choice(np.flatnonzero(seen), count, replace=False)] = True
    return mask
