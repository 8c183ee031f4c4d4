"""Count the operations of answering a page before it is done, with pruning and without.

Counted are matrix multiplications, two operations for a multiplication and an addition, as torch's counter does, with
attention over all pairs of what one call sees. The vision tower is the same either way and not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glimpseprune.families.shape import ModelShape
from glimpseprune.methods.base import Method


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """The sizes of a language model that its cost depends on."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocab: int

    @classmethod
    def of(cls, shape: ModelShape) -> DecoderShape:
        """Take these sizes out of a model's."""
        return cls(
            layers=shape.num_hidden_layers,
            hidden=shape.hidden_size,
            heads=shape.num_attention_heads,
            kv_heads=shape.num_key_value_heads,
            head_dim=shape.head_dim,
            mlp=shape.intermediate_size,
            vocab=shape.vocab_size,
        )

    def layer(self, tokens: int, seen: int) -> int:
        """One layer over ``tokens`` tokens that each look at ``seen``."""
        attention = self.heads * self.head_dim
        linear = 2 * attention + 2 * self.kv_heads * self.head_dim + 3 * self.mlp
        return 2 * tokens * self.hidden * linear + 4 * tokens * seen * attention

    def keys_values(self, tokens: int) -> int:
        """The keys and values of ``tokens`` tokens in one layer."""
        return 4 * tokens * self.hidden * self.kv_heads * self.head_dim

    def head(self, tokens: int) -> int:
        """The logits of ``tokens`` tokens."""
        return 2 * tokens * self.hidden * self.vocab


@dataclass(frozen=True, slots=True)
class PageWork:
    """The questions about one page, as far as their cost depends on them.

    Attributes:
        shared: tokens that all prompts begin with, the visual ones included.
        visual: visual tokens.
        tails: for each question, its tokens behind the shared ones.
        answers: for each question, the tokens its answer is expected to have.
    """

    shared: int
    visual: int
    tails: Sequence[int]
    answers: Sequence[int]

    def apart(self) -> list[PageWork]:
        """Each question by itself, with nothing shared."""
        pairs = zip(self.tails, self.answers, strict=True)
        # Shared up to its last token: one run over nearly all of the prompt is what a prompt alone comes to.
        return [PageWork(self.shared + tail - 1, self.visual, [1], [answer]) for tail, answer in pairs]


def unpruned_flops(shape: DecoderShape, work: PageWork) -> int:
    """Every question with all visual tokens, behind a shared prefix (:mod:`glimpseprune.prefill.unpruned`)."""
    asked = sum(work.tails)
    total = (shape.layers - 1) * shape.layer(work.shared, work.shared) + shape.keys_values(work.shared)
    total += shape.layers * shape.layer(asked, work.shared + asked)
    log = work.shared + asked
    for step in range(1, max(work.answers)):
        active = sum(answer > step for answer in work.answers)
        log += active
        total += shape.layers * shape.layer(active, log)
    return total + shape.head(sum(work.answers))


def pruned_flops(shape: DecoderShape, method: Method, work: PageWork, retention: float) -> int:
    """Every question with the share ``retention`` of the visual tokens, behind a shared prefix up to layer K."""
    first = method.prune_layer + 1
    packed = sum(work.tails) + len(work.tails) * method.appended
    total = method.prune_layer * shape.layer(work.shared, work.shared)
    total += first * shape.layer(packed, work.shared + packed)
    # Layer K in two halves: keys and values of all, the rest of those that some question keeps, each its own choice.
    some = work.shared - round((1 - retention) ** len(work.tails) * work.visual)
    total += shape.keys_values(work.shared) + shape.layer(some, work.shared)
    total += method.precompute_flops(work.visual) + len(work.tails) * method.score_flops(work.visual)
    text = work.shared - work.visual
    survivors = [text + round(retention * work.visual) + tail for tail in work.tails]
    longest = max(survivors)
    if first < shape.layers:
        whole = (shape.layers - first - 1) * shape.layer(longest, longest)
        total += len(survivors) * (whole + shape.keys_values(longest) + shape.layer(1, longest))
    for step in range(1, max(work.answers)):
        active = sum(answer > step for answer in work.answers)
        total += shape.layers * shape.layer(active, longest + step)
    return total + shape.head(sum(work.answers))
