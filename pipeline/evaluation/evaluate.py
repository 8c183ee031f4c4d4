"""Measures a model on examples: unpruned, pruned by its add-on, and pruned at random to the same size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glimpseprune.rule import KeepRule
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.datasets.example import Example, coverage
from pipeline.evaluation.metrics import anls, exact_match
from pipeline.evaluation.modes import Mode
from pipeline.questions.question import DEFAULT_PROMPT
from pipeline.records import Ask, Image

_MAX_NEW_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer in one mode.

    Attributes:
        document: file name of the page's document.
        page: page number, from 1.
        question_id: name of the question in the data set.
        question: text of the question.
        answerable: whether the page holds the answer.
        gold: all right answers.
        mode: way in which the page was pruned.
        answer: answer of the model.
        exact: whether the answer is a right one, character for character.
        anls: ANLS of the answer, in 0..1.
        confidence: confidence of the answer, in 0..1.
        visual_tokens: visual tokens of the page.
        kept_tokens: visual tokens that were kept.
        retention: share of visual tokens that were kept, in 0..1.
        box_coverage: smallest share of an answer box under kept tokens, in 0..1; ``None`` without boxes.
        prefill_ms: time of this question's prefill in milliseconds, language model only; ``None`` if not measured.
    """

    document: str
    page: int
    question_id: str
    question: str
    answerable: bool
    gold: tuple[str, ...]
    mode: Mode
    answer: str
    exact: bool
    anls: float
    confidence: float
    visual_tokens: int
    kept_tokens: int
    retention: float
    box_coverage: float | None
    prefill_ms: float | None


def measure_page(
    page_answerer: PageAnswerer,
    page: Image,
    examples: Sequence[Example],
    modes: Sequence[Mode],
    rule: KeepRule | None,
    seed: int,
) -> Iterator[Measured]:
    """Answer the examples of one page in every mode.

    Args:
        page_answerer: page answerer to measure.
        page: image of the page, ``[height, width, 3]``.
        examples: examples on this page.
        modes: modes to measure; ``random`` must follow ``glimpse``, as it keeps the same number of tokens.
        rule: keep rule of the mode ``glimpse``.
        seed: seed of the random masks.
    """
    counts: list[int] = []
    for mode in modes:
        asks = [_ask(example, rule if mode == "glimpse" else None) for example in examples]
        keep = None
        if mode == "random":
            grid = page_answerer.visual_grid(page)
            rng = np.random.default_rng([seed, len(examples), *counts])
            keep = [_random_mask(rng, count, grid[0] * grid[1]) for count in counts]
        answers = page_answerer.answer_page(page, asks, keep)
        if mode == "glimpse":
            counts = [answer.stats.kept_tokens for answer in answers]
        for example, answer in zip(examples, answers, strict=True):
            yield _measured(example, answer, mode)


def _ask(example: Example, rule: KeepRule | None) -> Ask:
    prompt = DEFAULT_PROMPT.format(text=example.question)
    return Ask(example.question_id, prompt, "text", _MAX_NEW_TOKENS, rule)


def _random_mask(rng: np.random.Generator, count: int, total: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(total, bool)
    mask[rng.choice(total, count, replace=False)] = True
    return mask


def _measured(example: Example, answer: ModelAnswer, mode: Mode) -> Measured:
    stats = answer.stats
    keep = np.ones(stats.visual_tokens, bool) if answer.keep is None else answer.keep
    covered = [coverage(region, keep, *answer.grid) for region in example.regions]
    return Measured(
        document=example.document.name,
        page=example.page,
        question_id=example.question_id,
        question=example.question,
        answerable=example.answerable,
        gold=example.answers,
        mode=mode,
        answer=answer.text,
        exact=exact_match(answer.text, example.answers),
        anls=anls(answer.text, example.answers),
        confidence=answer.confidence,
        visual_tokens=stats.visual_tokens,
        kept_tokens=stats.kept_tokens,
        retention=stats.kept_tokens / stats.visual_tokens,
        box_coverage=min(covered) if covered else None,
        prefill_ms=stats.prefill_ms,
    )
