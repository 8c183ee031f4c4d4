"""Counts the operations of answering a page in advance, by kind, with pruning and without.

Only matrix products count, with two operations per multiply-add, as in torch's counter; attention counts every pair of
query and key that a call computes. The vision tower costs the same either way and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from glimpseprune.families.shape import ModelShape
from glimpseprune.methods.base import Method


@dataclass(frozen=True, slots=True)
class Operations:
    """Counts operations by the kinds whose speeds differ.

    Attributes:
        linear: operations of products with weights.
        attention: operations of attention in the language model.
        predictor: operations of the pruning method.
        predictor_tokens: visual tokens that it scores, once for each question.
        layer_runs: times that a layer runs over some tokens, however few; a run has a price of its own.
        decode_runs: those among them that decode, in a pool which other pages may share.
    """

    linear: int = 0
    attention: int = 0
    predictor: int = 0
    predictor_tokens: int = 0
    layer_runs: int = 0
    decode_runs: int = 0

    def __add__(self, other: Operations) -> Operations:
        """Add the counts of each kind."""
        return Operations(
            self.linear + other.linear,
            self.attention + other.attention,
            self.predictor + other.predictor,
            self.predictor_tokens + other.predictor_tokens,
            self.layer_runs + other.layer_runs,
            self.decode_runs + other.decode_runs,
        )

    def __mul__(self, times: int) -> Operations:
        """Multiply the count of each kind."""
        return Operations(
            self.linear * times,
            self.attention * times,
            self.predictor * times,
            self.predictor_tokens * times,
            self.layer_runs * times,
            self.decode_runs * times,
        )

    @property
    def flops(self) -> int:
        """Operations of all kinds, as torch counts them."""
        return self.linear + self.attention + self.predictor


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

    def layer(self, tokens: int, seen: int, decoding: bool = False) -> Operations:
        """Count one layer over ``tokens`` tokens that attend to ``seen`` tokens each."""
        attention = self.heads * self.head_dim
        linear = 2 * attention + 2 * self.kv_heads * self.head_dim + 3 * self.mlp
        return Operations(
            linear=2 * tokens * self.hidden * linear,
            attention=4 * tokens * seen * attention,
            layer_runs=1,
            decode_runs=int(decoding),
        )

    def keys_values(self, tokens: int) -> Operations:
        """Count the keys and values of ``tokens`` tokens in one layer."""
        return Operations(linear=4 * tokens * self.hidden * self.kv_heads * self.head_dim)

    def head(self, tokens: int) -> Operations:
        """Count the logits of ``tokens`` tokens."""
        return Operations(linear=2 * tokens * self.hidden * self.vocab)


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


def unpruned_operations(shape: DecoderShape, work: PageWork) -> Operations:
    """Count all questions with every visual token, behind a shared prefix (:mod:`glimpseprune.prefill.unpruned`)."""
    asked = sum(work.tails)
    total = shape.layer(work.shared, work.shared) * (shape.layers - 1) + shape.keys_values(work.shared)
    total += shape.layer(asked, work.shared + asked) * shape.layers
    log = work.shared + asked
    for step in range(1, max(work.answers)):
        active = sum(answer > step for answer in work.answers)
        log += active
        total += shape.layer(active, log, decoding=True) * shape.layers
    return total + shape.head(sum(work.answers))


def pruned_operations(shape: DecoderShape, method: Method, work: PageWork, retention: float) -> Operations:
    """Count all questions pruned after layer K, behind a prefix that they share up to there.

    Args:
        shape: sizes of the language model.
        method: pruning method.
        work: token counts of the page's questions.
        retention: expected share of the visual tokens that are kept, in 0..1.
    """
    first = method.prune_layer + 1
    packed = sum(work.tails) + len(work.tails) * method.appended
    total = shape.layer(work.shared, work.shared) * method.prune_layer
    total += shape.layer(packed, work.shared + packed) * first
    # Layer K is partial: all tokens compute keys and values, and only tokens that some question keeps run the rest.
    # The questions are taken to choose independently.
    some = work.shared - round((1 - retention) ** len(work.tails) * work.visual)
    total += shape.keys_values(work.shared) + shape.layer(some, work.shared)
    scored = method.precompute_flops(work.visual) + len(work.tails) * method.score_flops(work.visual)
    total += Operations(predictor=scored, predictor_tokens=len(work.tails) * work.visual)
    text = work.shared - work.visual
    survivors = [text + round(retention * work.visual) + tail for tail in work.tails]
    longest = max(survivors)
    if first < shape.layers:
        # All questions run side by side, and the last layer computes the queries of their last tokens only.
        beside = shape.layer(longest, longest) * (shape.layers - first - 1) + shape.layer(1, longest)
        many = (beside + shape.keys_values(longest)) * len(survivors)
        total += replace(many, layer_runs=shape.layers - first)
    for step in range(1, max(work.answers)):
        active = sum(answer > step for answer in work.answers)
        total += shape.layer(active, longest + step, decoding=True) * shape.layers
    return total + shape.head(sum(work.answers))
