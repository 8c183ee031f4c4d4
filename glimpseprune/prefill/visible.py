"""Visual tokens that carry nothing, left out before the vision tower and the language model.

Most of a rendered page is paper. A token left out here is not in the sequence of any layer of either; those that stay
keep their rotary positions and their place in the predictor's grid, so the page keeps its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.errors import InputError
from glimpseprune.families.base import Prompt
from glimpseprune.prefill.alone import kept_positions, surviving_tokens
from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats


def drop_from_prompt(prompt: Prompt, visible: Tensor) -> Prompt:
    """The prompt about one image without the tokens that are not ``visible`` (bool ``[N]``).

    Args:
        prompt: one item.
        visible: visual tokens that stay, bool ``[N]``.

    Raises:
        InputError: the mask has another length than the image has tokens, or leaves none.
    """
    (slots,) = prompt.image_slots
    if visible.dtype != torch.bool or visible.shape != slots.shape or not bool(visible.any()):
        raise InputError(
            f"visible has to be bool [{slots.numel()}] with at least one token, found {visible.dtype} "
            f"{list(visible.shape)} with {int(visible.sum())}"
        )
    stays = surviving_tokens(prompt, visible)
    return replace(
        prompt,
        input_ids=prompt.input_ids[stays],
        position_ids=kept_positions(prompt, stays),
        image_slots=(torch.searchsorted(stays, slots[visible]),),
    )


def rule_for_visible(rule: KeepRule | Tensor | None, visible: Tensor) -> KeepRule | Tensor | None:
    """Translate a rule over all tokens into one over the visible tokens."""
    if isinstance(rule, Tensor):
        return rule.to(visible.device)[visible]
    if rule is None or rule.max_ratio is None:
        return rule
    return replace(rule, max_ratio=min(1.0, rule.max_ratio * visible.numel() / int(visible.sum())))


def over_all_tokens(
    sequences: Sequence[Prefilled], stats: Sequence[PruneStats], visible: Tensor
) -> tuple[list[Prefilled], list[PruneStats]]:
    """Spread results over the visible tokens to all N; the others are not kept and score minus infinity."""
    blank = visible.numel() - int(visible.sum())
    for sequence, figures in zip(sequences, stats, strict=True):
        keep = torch.zeros_like(visible)
        keep[visible] = sequence.keep
        sequence.keep = keep
        if sequence.scores is not None:
            scores = sequence.scores.new_full(visible.shape, float("-inf"))
            scores[visible] = sequence.scores
            sequence.scores = scores
        token_bytes = figures.kv_bytes_full // figures.kv_tokens_full
        figures.visual_tokens += blank
        figures.kv_tokens_full += blank
        figures.kv_bytes_full += token_bytes * blank
    return list(sequences), list(stats)
