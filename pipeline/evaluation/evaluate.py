"""A model measured on examples: unpruned, pruned by its add-on, and pruned at random to the same size."""

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
        page: 1-based.
        question_id: name of the question in the data set.
        question: its text.
        answerable: whether the page holds the answer.
        gold: the right answers.
        mode: how it was pruned.
        answer: what the model said.
        exact: whether that is a right answer.
        anls: 0..1.
        confidence: 0..1.
        visual_tokens: visual tokens of the page.
        kept_tokens: number of them that were kept.
        retention: kept share, 0..1.
        box_coverage: smallest share of an answer box under kept tokens, 0..1; null without boxes.
        prefill_ms: milliseconds of prefill of this question, language model only.
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
        page_answerer: the model.
        page: ``[height, width, 3]``.
        examples: all on this page.
        modes: ``random`` needs ``glimpse`` before it, whose numbers of tokens it keeps.
        rule: rule of the mode ``glimpse``.
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
