"""What answering a page costs the language model, counted before it is done: with pruning and without.

Counted are matrix multiplications, two operations for a multiplication and an addition, as torch's counter does, with
attention over all pairs of what one call sees. The vision tower is the same either way and not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glimpseprune.methods.glimpse.addon_config import AddonConfig


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
    def of(cls, text: Any) -> DecoderShape:
        """From the text configuration of a transformers model."""
        head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return cls(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            heads=text.num_attention_heads,
            kv_heads=text.num_key_value_heads,
            head_dim=head_dim,
            mlp=text.intermediate_size,
            vocab=text.vocab_size,
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
    """What is asked of a page.

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


def pruned_flops(shape: DecoderShape, addon: AddonConfig, work: PageWork, retention: float) -> int:
    """Every question with the share ``retention`` of the visual tokens, behind a shared prefix up to layer K."""
    first = addon.reduce_layer + 1
    packed = sum(work.tails) + len(work.tails) * addon.le_length
    total = addon.reduce_layer * shape.layer(work.shared, work.shared)
    total += first * shape.layer(packed, work.shared + packed)
    # Layer K in two halves: keys and values of all, the rest of those that some question keeps, each its own choice.
    some = work.shared - round((1 - retention) ** len(work.tails) * work.visual)
    total += shape.keys_values(work.shared) + shape.layer(some, work.shared)
    total += _look_flops(addon, work.visual) + len(work.tails) * _score_flops(addon, work.visual)
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


def _look_flops(addon: AddonConfig, visual: int) -> int:
    """The predictor's look at a page: the visual condition and its part of queries and keys."""
    width = addon.attn_fuse_size + addon.visual_cond_size
    one = addon.base.vision_hidden_size * addon.visual_cond_size + 2 * addon.visual_cond_size * width
    return 2 * visual * one * len(addon.selected_visual_layers)


def _score_flops(addon: AddonConfig, visual: int) -> int:
    """The predictor for one question."""
    narrow, width = addon.attn_fuse_size, addon.attn_fuse_size + addon.visual_cond_size
    # Over the whole image values are padded to the width of the keys, for fused attention.
    attention = 2 * visual * 2 * width if addon.attn_fuse_global else 2 * addon.window**2 * (width + narrow)
    linear = 2 * narrow * width + 2 * narrow * narrow + 3 * narrow * 2 * narrow
    one = 2 * linear + attention
    entry = 2 * addon.base.num_attention_heads * len(addon.selected_layers) * narrow + 2 * narrow
    return visual * (one * len(addon.selected_visual_layers) + entry)
