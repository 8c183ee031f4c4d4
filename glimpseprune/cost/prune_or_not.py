"""Choose whether the questions of a page are pruned, by the operations that either way should take.

Pruning runs layers K+1.. and the predictor for each question by itself. Without it, a question adds only its own few
tokens to a prefix that is run once, so that many questions of a page are cheaper with every visual token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from glimpseprune.cost.flops import DecoderShape, PageWork, pruned_flops, unpruned_flops
from glimpseprune.errors import InputError
from glimpseprune.methods.base import Method
from glimpseprune.model import GlimpseModel
from glimpseprune.rule import KeepRule

EXPECTED_RETENTION = 0.04
"""Share of the visual tokens that are kept on documents: 3.6 to 4.5 % on DocVQA, DUDE and InfoVQA, as published for
the article's 7B model. It is a constant, so that a page is treated alike whenever it is answered."""

EXPECTED_ANSWER = 16
"""Tokens of an answer, where its limit is not lower."""


@dataclass(frozen=True, slots=True)
class PruningChoice:
    """The way in which the questions of a page are answered, and the reason.

    Attributes:
        choice: ``glimpse``, each with its own survivors; or ``unpruned``, all with every visual token.
        tflops_glimpse: expected for all of them with pruning, the predictor included, the vision tower not; in 1e12.
        tflops_unpruned: the same without pruning.
    """

    choice: Literal["glimpse", "unpruned"]
    tflops_glimpse: float
    tflops_unpruned: float


def cheaper_way(
    shape: DecoderShape,
    method: Method,
    pruned: Sequence[PageWork],
    unpruned: Sequence[PageWork],
    retention: float,
) -> PruningChoice:
    """Choose the cheaper way; a tie goes to pruning, whose caches are smaller.

    Args:
        shape: sizes of the language model.
        method: what prunes.
        pruned: the questions of the page, in the groups that would share a prefix if they are pruned.
        unpruned: the same questions, in the groups that would share a prefix if they are not.
        retention: share of the visual tokens that is expected to be kept, in 0..1.
    """
    with_pruning = sum(pruned_flops(shape, method, work, retention) for work in pruned)
    without = sum(unpruned_flops(shape, work) for work in unpruned)
    return PruningChoice("glimpse" if with_pruning <= without else "unpruned", with_pruning / 1e12, without / 1e12)


def choose_pruning(
    model: GlimpseModel, prompts: Sequence[Tensor], rules: Sequence[KeepRule], limits: Sequence[int]
) -> PruningChoice:
    """Choose for the questions of one page; the same prompts, rules and limits always get the same choice.

    Args:
        model: a model that can prune. Without attention biases it prefills unpruned questions one by one.
        prompts: token ids ``[T_b]`` of each question, the image's tokens included.
        rules: rule of each question. Questions run side by side, padded to the longest: the laxest rule counts.
        limits: most new tokens of each question.

    Raises:
        InputError: the model has no method to prune with.
    """
    if model.method is None:
        raise InputError("there is nothing to choose for a model that cannot prune: load it with glimpse=...")
    slots = (prompts[0] == model.backbone.image_token_id).nonzero()[:, 0]  # [N]
    visual = slots.numel()
    shared = int(slots[-1]) + 1 if visual else 0
    work = PageWork(
        shared=shared,
        visual=visual,
        tails=[prompt.numel() - shared for prompt in prompts],
        answers=[min(limit, EXPECTED_ANSWER) for limit in limits],
    )
    return cheaper_way(
        DecoderShape.of(model.backbone.shape),
        model.method,
        pruned=[work],
        unpruned=[work] if model.backbone.supports_attention_bias else work.apart(),
        retention=max(expected_retention(rule, visual) for rule in rules),
    )


def expected_retention(rule: KeepRule, visual: int) -> float:
    """``EXPECTED_RETENTION`` within the bounds of a rule, for an image of ``visual`` tokens; in 0..1."""
    capped = EXPECTED_RETENTION if rule.max_ratio is None else min(EXPECTED_RETENTION, rule.max_ratio)
    return max(capped, min(1.0, rule.min_tokens / visual)) if visual else capped
