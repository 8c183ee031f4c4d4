"""Chooses whether to prune the questions of a page, from the expected cost of either way.

With pruning, each question runs the predictor and layers K+1.. by itself. Without it, each adds only its own few tokens
to a prefix that runs once. Many questions about one page are therefore cheaper unpruned. The choice is computed from
model, page and question sizes and from rates that were measured once, so a retry decides the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from glimpseprune.cost.flops import DecoderShape, Operations, PageWork, pruned_operations, unpruned_operations
from glimpseprune.cost.rates import Rates
from glimpseprune.decode.graphs import graphs_for
from glimpseprune.decode.log_pool import MOST_PAGES
from glimpseprune.errors import InputError
from glimpseprune.methods.base import Method
from glimpseprune.model import GlimpseModel
from glimpseprune.rule import KeepRule

EXPECTED_RETENTION = 0.04
"""Expected retention on documents; the article reports 3.6 to 4.5 % for its 7B model on DocVQA, DUDE and InfoVQA. It is
a constant rather than a measurement, so that the choice for a page never changes."""

EXPECTED_ANSWER = 16
"""Expected tokens of an answer, unless its limit is lower."""

POOL_SECONDS = 10.0
"""Age of a page at which none begins before it is answered: pages that take less share the pool that decodes."""


@dataclass(frozen=True, slots=True)
class PruningChoice:
    """Tells how to answer the questions of a page, and what either way should cost.

    Attributes:
        choice: ``glimpse`` for pruning, each question with its own survivors; ``unpruned`` for every visual token.
        tflops_glimpse: expected operations of all questions with pruning, in 1e12; the predictor counts, the vision
            tower does not.
        tflops_unpruned: expected operations of all questions without pruning, in 1e12.
    """

    choice: Literal["glimpse", "unpruned"]
    tflops_glimpse: float
    tflops_unpruned: float


def cheaper_way(
    shape: DecoderShape,
    method: Method,
    work: PageWork,
    retention: float,
    rates: Rates,
    unpruned_together: int = MOST_PAGES,
) -> PruningChoice:
    """Choose the faster way; a tie goes to pruning, whose caches are smaller.

    Args:
        shape: sizes of the language model.
        method: pruning method.
        work: questions of the page, which share a prefix.
        retention: expected share of the visual tokens that are kept, in 0..1.
        rates: what operations take.
        unpruned_together: most pages whose unpruned questions decode in the same steps.
    """
    with_pruning = pruned_operations(shape, method, work, retention)
    without = unpruned_operations(shape, work)
    faster = _seconds(rates, with_pruning, MOST_PAGES) <= _seconds(rates, without, unpruned_together)
    return PruningChoice("glimpse" if faster else "unpruned", with_pruning.flops / 1e12, without.flops / 1e12)


def _seconds(rates: Rates, operations: Operations, most_together: int) -> float:
    """Predict the time of a page in seconds, of which as many decode together as begin while one is open."""
    alone = rates.seconds(operations)
    return rates.seconds(operations, min(most_together, max(1.0, POOL_SECONDS / alone)) if alone else 1.0)


def choose_pruning(
    model: GlimpseModel,
    prompts: Sequence[Tensor],
    rules: Sequence[KeepRule],
    limits: Sequence[int],
    rates: Rates,
) -> PruningChoice:
    """Choose how to answer the questions of one page; equal arguments get the same choice.

    Args:
        model: model with a pruning method.
        prompts: token ids ``[T_b]`` of each question, the image's tokens included.
        rules: keep rule of each question. Questions run side by side, padded to the longest, so the laxest rule
            determines the cost.
        limits: largest number of new tokens of each question.
        rates: what operations take, from :func:`~glimpseprune.cost.rates.measure_rates`, or ``EQUAL``.

    Raises:
        InputError: the model has no pruning method.
    """
    if model.method is None:
        raise InputError(
            "expected a model with a pruning method, found one that cannot prune: load it with glimpse=..."
        )
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
        work=work,
        retention=max(expected_retention(rule, visual) for rule in rules),
        rates=rates,
        unpruned_together=MOST_PAGES if graphs_for(model.backbone.device) is None else 1,
    )


def expected_retention(rule: KeepRule, visual: int) -> float:
    """Limit ``EXPECTED_RETENTION``, in 0..1, to the bounds of a rule for an image of ``visual`` tokens."""
    capped = EXPECTED_RETENTION if rule.max_ratio is None else min(EXPECTED_RETENTION, rule.max_ratio)
    return max(capped, min(1.0, rule.min_tokens / visual)) if visual else capped
