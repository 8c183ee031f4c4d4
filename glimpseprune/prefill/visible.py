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
    """Make the prompt that has only the visible visual tokens.

    Args:
        prompt: one item of a batch, with at least one image.
        visible: mask of the visual tokens of all images that the model sees, bool ``[N]``.

    Raises:
        InputError: the mask does not have one entry per visual token, or is false for a whole image.
    """
    total = sum(slots.numel() for slots in prompt.image_slots)
    fits = visible.dtype == torch.bool and visible.shape == (total,)
    seen = split_by_image(prompt, visible) if fits else [visible]
    if not fits or not all(bool(mask.any()) for mask in seen):
        raise InputError(
            f"expected visible of type bool and shape [{total}] with at least one true entry per image, found "
            f"{visible.dtype} and {list(visible.shape)} with {[int(mask.sum()) for mask in seen]}; pass one entry per "
            "visual token, or None for all"
        )
    stays = surviving_tokens(prompt, visible)
    return replace(
        prompt,
        input_ids=prompt.input_ids[stays],
        position_ids=kept_positions(prompt, stays),
        image_slots=tuple(
            torch.searchsorted(stays, slots[mask]) for slots, mask in zip(prompt.image_slots, seen, strict=True)
        ),
    )


def split_by_image(prompt: Prompt, values: Tensor) -> tuple[Tensor, ...]:
    """Split what there is of each visual token ``[N]`` into the parts ``[N_i]`` of the images of a prompt."""
    return torch.split(values, [slots.numel() for slots in prompt.image_slots])


def rule_for_visible(rule: KeepRule | Tensor | None, visible: Tensor) -> KeepRule | Tensor | None:
    """Cut a mask over all tokens down to the visible tokens; a rule goes by the whole grid anyway.

    Args:
        rule: keep rule, mask of the visual tokens that stay, bool ``[N]``, or ``None`` for all.
        visible: mask of the visual tokens that the model sees, bool ``[N]``.
    """
    return rule.to(visible.device)[visible] if isinstance(rule, Tensor) else rule


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
