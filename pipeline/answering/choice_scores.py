"""Finds the probability of each choice of a question, behind the prefill of the question."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from pipeline.families.base import ModelInput
from pipeline.questions.no_answer import NO_ANSWER
from pipeline.records import Ask, ChoiceProbability


def continuations(ask: Ask, processor: ModelInput, ends: Collection[int]) -> list[Tensor]:
    """Return the token ids, without an end, of the answers whose probabilities a question asks for.

    Args:
        ask: the question.
        processor: processor of the checkpoint.
        ends: tokens that end an answer.
    """
    return [tokens for text in _texts(ask) for tokens in _spellings(text, processor, ends)]


def choice_probabilities(
    ask: Ask, processor: ModelInput, ends: Collection[int], logprobs: Tensor
) -> tuple[ChoiceProbability, ...]:
    """Return the probability of each choice, and of the answer that the page does not say.

    Args:
        ask: the question.
        processor: processor of the checkpoint.
        ends: tokens that end an answer.
        logprobs: log-probability of each of the :func:`continuations`, ``[C]``.
    """
    left = iter(logprobs.exp().tolist())
    found = []
    for text in _texts(ask):
        found.append(ChoiceProbability(text, sum(next(left) for _ in _spellings(text, processor, ends))))
    return tuple(found)


def _texts(ask: Ask) -> tuple[str, ...]:
    return (*ask.choices, NO_ANSWER) if ask.choice_probabilities else ()


def _spellings(text: str, processor: ModelInput, ends: Collection[int]) -> Iterator[Tensor]:
    """Yield the tokens of a text as the tokenizer cuts it, and character by character where that differs.

    A model may write either; the embedded one spells the words for which it has tokens.
    """
    whole = processor.answer(text, ends)[:-1]
    yield whole
    spelled = torch.cat([processor.answer(char, ends)[:-1] for char in text])
    if not torch.equal(spelled, whole):
        yield spelled
