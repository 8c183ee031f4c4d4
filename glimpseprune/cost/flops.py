"""Counts the operations of answering a page in advance, with pruning and without.

Only matrix products count, with two operations per multiply-add, as in torch's counter; attention counts every pair of
query and key that a call computes. The vision tower costs the same either way and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glimpseprune.families.shape import ModelShape
from glimpseprune.methods.base import Method


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Holds the sizes of a language model that its cost depends on.

    Attributes:
        layers: number of decoder layers L.
        hidden: width D.
        heads: number of query heads H.
        kv_heads: number of key and value heads.
        head_dim: width of one head.
        mlp: width of the MLP.
        vocab: size of the vocabulary.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocab: int

    @classmethod
    def of(cls, shape: ModelShape) -> DecoderShape:
        """Take these sizes from the shape of a model."""
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
        """Count one layer over ``tokens`` tokens that attend to ``seen`` tokens each."""
        attention = self.heads * self.head_dim
        linear = 2 * attention + 2 * self.kv_heads * self.head_dim + 3 * self.mlp
        return 2 * tokens * self.hidden * linear + 4 * tokens * seen * attention

    def keys_values(self, tokens: int) -> int:
        """Count the keys and values of ``tokens`` tokens in one layer."""
        return 4 * tokens * self.hidden * self.kv_heads * self.head_dim

    def head(self, tokens: int) -> int:
        """Count the logits of ``tokens`` tokens."""
        return 2 * tokens * self.hidden * self.vocab


@dataclass(frozen=True, slots=True)
class PageWork:
    """Holds the token counts of the questions about one page.

    Attributes:
        shared: number of tokens in the common beginning of all prompts, visual tokens included.
        visual: number of visual tokens.
        tails: number of tokens after the common beginning, for each question.
        answers: expected number of answer tokens, for each question.
    """

    shared: int
    visual: int
    tails: Sequence[int]
    answers: Sequence[int]

    def apart(self) -> list[PageWork]:
        """Split the work into one piece per question, with nothing shared."""
        pairs = zip(self.tails, self.answers, strict=True)
        # A prompt alone is one run over all of it: count everything but its last token as shared.
        return [PageWork(self.shared + tail - 1, self.visual, [1], [answer]) for tail, answer in pairs]


def unpruned_flops(shape: DecoderShape, work: PageWork) -> int:
    """Count all questions with every visual token, behind a shared prefix (:mod:`glimpseprune.prefill.unpruned`)."""
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
    """Count all questions pruned after layer K, behind a prefix that they share up to there.

    Args:
        shape: sizes of the language model.
        method: pruning method.
        work: token counts of the page's questions.
        retention: expected share of the visual tokens that are kept, in 0..1.
    """
    first = method.prune_layer + 1
    packed = sum(work.tails) + len(work.tails) * method.appended
    total = method.prune_layer * shape.layer(work.shared, work.shared)
    total += first * shape.layer(packed, work.shared + packed)
    # Layer K is partial: all tokens compute keys and values, and only tokens that some question keeps run the rest.
    # The questions are taken to choose independently.
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
