"""Leaves tokens that are not visible out of a prompt, before the vision tower and the language model.

Most of a rendered page is blank paper. A token that is left out here enters no layer of either. The others keep their
rotary positions and their cells of the predictor's grid, so the page keeps its layout.
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
    """Make the prompt about one image that has only the visible visual tokens.

    Args:
        prompt: one item of a batch, with one image.
        visible: mask of the visual tokens that the model sees, bool ``[N]``.

    Raises:
        InputError: the mask does not have one entry per visual token, or is false everywhere.
    """
    (slots,) = prompt.image_slots
    if visible.dtype != torch.bool or visible.shape != slots.shape or not bool(visible.any()):
        raise InputError(
            f"expected visible of type bool and shape [{slots.numel()}] with at least one true entry, found "
            f"{visible.dtype} and {list(visible.shape)} with {int(visible.sum())}; pass one entry per visual token, or "
            "None for all"
        )
    stays = surviving_tokens(prompt, visible)
    return replace(
        prompt,
        input_ids=prompt.input_ids[stays],
        position_ids=kept_positions(prompt, stays),
        image_slots=(torch.searchsorted(stays, slots[visible]),),
    )


def rule_for_visible(rule: KeepRule | Tensor | None, visible: Tensor) -> KeepRule | Tensor | None:
    """Translate a rule or mask over all tokens into one over the visible tokens.

    Args:
        rule: keep rule, mask of the visual tokens that stay, bool ``[N]``, or ``None`` for all.
        visible: mask of the visual tokens that the model sees, bool ``[N]``.
    """
    if isinstance(rule, Tensor):
        return rule.to(visible.device)[visible]
    if rule is None or rule.max_ratio is None:
        return rule
    return replace(rule, max_ratio=min(1.0, rule.max_ratio * visible.numel() / int(visible.sum())))


def over_all_tokens(
    sequences: Sequence[Prefilled], stats: Sequence[PruneStats], visible: Tensor
) -> tuple[list[Prefilled], list[PruneStats]]:
    """Extend results over the visible tokens to all N visual tokens.

    A token that is not visible counts as not kept, and scores minus infinity.

    Args:
        sequences: sequences after prefill, changed in place.
        stats: figures of each sequence, changed in place.
        visible: mask of the visual tokens that the model saw, bool ``[N]``.
    """
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
