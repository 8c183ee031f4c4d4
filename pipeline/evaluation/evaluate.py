"""Measures a model on examples: unpruned, pruned by its add-on, and pruned by other methods to the same size."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from glimpseprune.rule import KeepRule
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.page_evidence import AnswerEvidence, PageEvidence
from pipeline.answering.question_words import shares_of_words
from pipeline.confidence.calibration import Calibration
from pipeline.confidence.features import FEATURE_COLUMNS, features, sureness_of_others
from pipeline.confidence.presence import clues_of
from pipeline.datasets.example import Example, coverage
from pipeline.evaluation.asking import ModeAsker
from pipeline.evaluation.metrics import anls, exact_match, value_equal
from pipeline.evaluation.modes import Mode, shares_of
from pipeline.evaluation.pointing import overlap, points_at
from pipeline.output.schema import ANSWERS
from pipeline.pages.renderer import decode_image
from pipeline.questions.no_answer import says_no_answer
from pipeline.questions.question import DEFAULT_PROMPT
from pipeline.questions.values import AnswerType, Reading
from pipeline.records import Ask, Evidence, OtherAnswer, PageImage

MAX_NEW_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer in one mode.

    Attributes:
        document: file name of the page's document.
        page: page number, from 1.
        question_id: name of the question in the data set.
        question: text of the question.
        type: what the answer stands for.
        answerable: whether the page holds the answer.
        gold: all right answers.
        mode: way in which the page was pruned.
        answer: answer of the model.
        exact: whether the answer is a right one, character for character.
        value_equal: whether the answer stands for the same as a right one, under the type of the question.
        anls: ANLS of the answer, in 0..1.
        value_error: why the answer stands for no value of that type; ``None`` if it does.
        confidence: calibrated confidence of the answer, in 0..1; ``None`` without a calibration.
        confidence_raw: geometric mean of the token probabilities, in 0..1; ``None``, as all that only a model has, in
            the mode ``ocr``.
        logprob_mean: mean log-probability of the tokens.
        logprob_min: log-probability of the least likely token.
        logprob_first: log-probability of the first token.
        margin_min: smallest difference between the log-probabilities of a token and of the likeliest other one.
        glimpse_mass: share of all importance that lies on kept tokens, in 0..1; ``None`` where nothing was scored.
        glimpse_spread: spread of the importance, in 0..1; ``None`` where nothing was scored.
        new_tokens: number of generated tokens.
        on_page: whether the answer stands in the text layer of the page; ``None`` where that cannot be told.
        floor_hit: whether the keep rule's floor decided.
        visual_tokens: visual tokens of the page.
        kept_tokens: visual tokens that were kept.
        retention: share of visual tokens that were kept, in 0..1.
        box_coverage: smallest share of an answer box under kept tokens, in 0..1; ``None`` without boxes.
        pointed: whether the evidence points at an answer box; ``None`` without boxes or evidence.
        iou: intersection over union of evidence and answer box, in 0..1; ``None`` without boxes or evidence.
        prefill_ms: time of this question's prefill in milliseconds, language model only; ``None`` if not measured.
        fallback: why the question was asked again without pruning; ``None`` where it was not.
        pruned_answer: the answer with pruning, where it was asked again.
        pruned_exact: whether that was a right one, character for character.
        other_answers: the less sure answers, where the page was looked at again.
        first_exact: whether the answer of the first look was a right one, character for character; ``None`` where there
            was no other.
        keep_share: share of the visual tokens that was asked for, in 0..1: a cap in the mode ``glimpse``, a number of
            tokens in others; ``None`` where none was.
        clues: what the glimpse and the words of the page tell of whether it holds the answer, in the order of
            ``CLUES``; ``None`` where nothing was scored.
        page_ms: wall time in which all questions of the page were answered in this mode, in milliseconds, rendering not
            counted; ``None`` where several shares were asked for at once.
    """

    document: str
    page: int
    question_id: str
    question: str
    type: AnswerType
    answerable: bool
    gold: tuple[str, ...]
    mode: Mode
    answer: str
    exact: bool
    value_equal: bool
    anls: float
    value_error: str | None
    confidence: float | None = None
    confidence_raw: float | None = None
    logprob_mean: float | None = None
    logprob_min: float | None = None
    logprob_first: float | None = None
    margin_min: float | None = None
    glimpse_mass: float | None = None
    glimpse_spread: float | None = None
    new_tokens: int | None = None
    on_page: bool | None = None
    floor_hit: bool | None = None
    visual_tokens: int | None = None
    kept_tokens: int | None = None
    retention: float | None = None
    box_coverage: float | None = None
    pointed: bool | None = None
    iou: float | None = None
    prefill_ms: float | None = None
    fallback: str | None = None
    pruned_answer: str | None = None
    pruned_exact: bool | None = None
    other_answers: tuple[OtherAnswer, ...] | None = None
    first_exact: bool | None = None
    keep_share: float | None = None
    clues: tuple[float, ...] | None = None
    page_ms: float | None = None


def measure_page(
    page_answerer: PageAnswerer,
    page: PageImage,
    examples: Sequence[Example],
    modes: Sequence[Mode],
    rule: KeepRule | None,
    seed: int,
    prompt: str | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    shares: Sequence[float] = (),
) -> Iterator[Measured]:
    """Answer the examples of one page in every mode.

    Args:
        page_answerer: page answerer to measure.
        page: rendered page.
        examples: examples on this page.
        modes: modes to measure; without shares, ``glimpse`` must come before those that keep as many tokens as it does.
        rule: keep rule of the mode ``glimpse``.
        seed: seed of the random masks.
        prompt: words sent to the model, with ``{text}`` for the question; ``None`` for those of each example, or the
            default.
        max_new_tokens: longest answer.
        shares: shares of the visual tokens to keep, in 0..1, in every mode that prunes; empty for as many as
            ``glimpse`` keeps.
    """
    found: list[float] = []
    pixels, places, asker = decode_image(page), PageEvidence(page), ModeAsker(page_answerer, rule)
    words_found = shares_of_words([example.question for example in examples], page.words)
    asks = [Ask(one.question_id, _prompt_of(one, prompt), "text", max_new_tokens, None) for one in examples]
    for mode in modes:
        asked, start = shares_of(mode, shares), time.perf_counter()
        for share, answers in asker.ask(mode, pixels, asks, asked, found, seed):
            page_ms = (time.perf_counter() - start) * 1e3 if len(asked) == 1 else None
            if mode == "glimpse" and share is None:
                found = [answer.stats.kept_tokens / answer.stats.visual_tokens for answer in answers]
            for example, ask, answer, words in zip(examples, asks, answers, words_found, strict=True):
                says = answer.text and not says_no_answer(answer.text)
                at = places.of(replace(ask, type=example.type), answer) if says else AnswerEvidence()
                boxes = None if at.boxes is None else [on_share(box, page) for box in at.boxes]
                clues = None if answer.scores is None or mode != "glimpse" else clues_of(answer.scores, words)
                row = _measured(example, answer, mode, at.on_page, boxes)
                yield replace(row, keep_share=share, clues=clues, page_ms=page_ms)


def with_confidence(rows: Sequence[Measured], calibration: Calibration) -> list[Measured]:
    """Give the answers to a data set their confidence; those of a mode that was not fitted on get none."""
    asked = [row for row in rows if row.mode in calibration.fitted_on.modes]
    if not asked:
        return list(rows)
    confidence = iter(calibration.confidence(features_of(asked, [Reading(row.type) for row in asked])).tolist())
    given = [next(confidence) if row.mode in calibration.fitted_on.modes else None for row in rows]
    return [
        replace(row, confidence=one if row.keep_share is None else None) for row, one in zip(rows, given, strict=True)
    ]


def features_of(rows: Sequence[Measured], read_as: Sequence[Reading], alone: bool = False) -> npt.NDArray[np.float64]:
    """Compute the features of a calibration, ``[rows, features]``.

    Args:
        rows: answers to one data set.
        read_as: how each is read.
        alone: whether each counts as the only answer on its page.
    """
    schema = pa.schema([ANSWERS.field(name) for name in FEATURE_COLUMNS])
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema)
    others = sureness_of_others(table, [(row.document, row.page, row.mode) for row in rows])
    return features(table, read_as, np.full(len(rows), np.nan) if alone else others)


def _prompt_of(example: Example, prompt: str | None) -> str:
    if prompt is None and example.prompt is not None:
        return example.prompt
    return (prompt or DEFAULT_PROMPT).format(text=example.question, choices="")


def scored(example: Example, mode: Mode, answer: str) -> Measured:
    """Score an answer, whoever gave it.

    Args:
        example: the question.
        mode: way in which it was asked.
        answer: the answer.
    """
    reading = example.read_as
    none = says_no_answer(answer)
    return Measured(
        document=example.document.name,
        page=example.page,
        question_id=example.question_id,
        question=example.question,
        type=example.type,
        answerable=example.answerable,
        gold=example.answers,
        mode=mode,
        answer=answer,
        exact=exact_match(answer, example.answers),
        value_equal=value_equal(answer, example.answers, reading),
        anls=anls(answer, example.answers),
        value_error=None if none or not answer else reading.value_of(answer).error,
    )


def on_share(box: Evidence, page: PageImage) -> Evidence:
    """Give a box in shares of the page."""
    across, down = page.width_pt, page.height_pt
    return replace(box, x0=box.x0 / across, y0=box.y0 / down, x1=box.x1 / across, y1=box.y1 / down)


def _measured(
    example: Example, answer: ModelAnswer, mode: Mode, on_page: bool | None, boxes: Sequence[Evidence] | None
) -> Measured:
    stats = answer.stats
    first = answer.text if answer.look == 1 else answer.others[0].answer
    keep = np.ones(stats.visual_tokens, bool) if answer.keep is None else answer.keep
    covered = [coverage(region.on_grid(answer.frames[0]), keep, *answer.grids[0]) for region in example.regions]
    return replace(
        scored(example, mode, answer.text),
        **asdict(answer.signals),
        new_tokens=answer.new_tokens,
        on_page=on_page,
        floor_hit=stats.floor_hit,
        visual_tokens=stats.visual_tokens,
        kept_tokens=stats.kept_tokens,
        retention=stats.kept_tokens / stats.visual_tokens,
        box_coverage=min(covered) if covered else None,
        pointed=None if boxes is None or not example.regions else points_at(boxes, example.regions),
        iou=None if boxes is None or not example.regions else overlap(boxes, example.regions),
        prefill_ms=stats.prefill_ms,
        fallback=answer.fallback,
        pruned_answer=answer.pruned_text,
        pruned_exact=None if answer.pruned_text is None else exact_match(answer.pruned_text, example.answers),
        other_answers=answer.others or None,
        first_exact=exact_match(first, example.answers) if answer.others else None,
    )
