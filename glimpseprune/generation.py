"""Answers a batch of prompts, with pruning by a rule or without pruning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.pool import DecodePool
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.errors import InputError
from glimpseprune.families.base import EncodedImage, Prompt
from glimpseprune.model import GlimpseModel
from glimpseprune.prefill.alone import prefill_full, prefill_pruned
from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats, now_ms
from glimpseprune.without_cudnn import without_cudnn

Keep = KeepRule | Tensor | None
"""The visual tokens of an item that stay: those a rule selects, those of a mask (bool ``[N]``), or all (``None``)."""


@dataclass(slots=True)
class Output:
    """Holds the answers to a batch of B items.

    Attributes:
        sequences: new tokens of each item, the end-of-sequence token included.
        logprobs: log-probability of each new token under the model, of the same shapes as ``sequences``.
        scores: importance logits ``[N_b]`` of each item's visual tokens; ``None`` if nothing was scored.
        keep: mask of the visual tokens that stayed, bool ``[N_b]``.
        first_logits: logits ``[B, vocab]`` of the first new token, float32.
        stats: figures of each item.
    """

    sequences: list[Tensor]
    logprobs: list[Tensor]
    scores: list[Tensor | None]
    keep: list[Tensor]
    first_logits: Tensor
    stats: list[PruneStats]


@torch.inference_mode()
@without_cudnn
def generate(
    model: GlimpseModel,
    inputs: Mapping[str, Any],
    rule: Keep | Sequence[Keep] = None,
    max_new_tokens: int | Sequence[int] = 32,
) -> Output:
    """Answer every item of a batch greedily.

    The tokens of an item do not depend on the rest of the batch. With ``rule=None`` they are those of the stock model.

    Args:
        model: model from :func:`glimpseprune.load`.
        inputs: batch from the processor: ``input_ids``, ``attention_mask`` (padding on any side), ``pixel_values`` and
            ``image_grid_thw``. An item may have no image, or several.
        rule: rule, mask of visual tokens to keep, or ``None`` for all; one for all items, or one per item.
        max_new_tokens: largest number of new tokens, at least 1; one for all items, or one per item.

    Raises:
        InputError: the inputs do not fit together, or a rule is given although the model has no add-on.
    """
    prompts = model.backbone.prompts(inputs)
    rules = one_each(rule, len(prompts), "rule")
    limits = one_each(max_new_tokens, len(prompts), "max_new_tokens")
    check(model, rules, limits)
    sequences, stats = [], []
    for prompt, keep in zip(prompts, rules, strict=True):
        images, vision_ms = model.encode_images(prompt)
        sequence, figures = prefill_alone(model, prompt, images, keep)
        figures.vision_ms = vision_ms
        sequences.append(sequence)
        stats.append(figures)
    first_logits = torch.stack([sequence.logits for sequence in sequences])
    pool = DecodePool(model.backbone, model.eos_token_ids, model.repetition_penalty)
    for row, (prompt, sequence, limit) in enumerate(zip(prompts, sequences, limits, strict=True)):
        pool.add(row, sequence, prompt.input_ids, limit)
    pool.run()
    decoded = [pool.done[row] for row in range(len(prompts))]
    for figures, result in zip(stats, decoded, strict=True):
        figures.decode_ms = result.decode_ms
    return Output(
        sequences=[torch.tensor(result.tokens) for result in decoded],
        logprobs=[torch.tensor(result.logprobs) for result in decoded],
        scores=[sequence.scores for sequence in sequences],
        keep=[sequence.keep for sequence in sequences],
        first_logits=first_logits,
        stats=stats,
    )


def prefill_alone(
    model: GlimpseModel, prompt: Prompt, images: Sequence[EncodedImage], rule: Keep
) -> tuple[Prefilled, PruneStats]:
    """Prefill one prompt by itself, and prune it if it has a rule and an image.

    Args:
        model: loaded model.
        prompt: one item of a batch.
        images: images of the prompt after the vision tower.
        rule: rule, mask of visual tokens to keep, or ``None`` for all.

    Raises:
        InputError: the mask does not have one entry per visual token.
    """
    start = now_ms(model.backbone.device)
    if rule is not None and model.method is not None and images:
        sequence = prefill_pruned(model.backbone, model.method, prompt, images, rule)
    else:
        sequence = prefill_full(model.backbone, prompt, images)
    ms = now_ms(model.backbone.device) - start
    return sequence, measured(prompt, sequence, sequence.cache.nbytes // sequence.cache.tokens, ms)


def measured(prompt: Prompt, sequence: Prefilled, token_bytes: int, prefill_ms: float) -> PruneStats:
    """Collect the figures of a prefill.

    Args:
        prompt: unpruned prompt.
        sequence: result of its prefill.
        token_bytes: bytes of one token's keys and values in all layers.
        prefill_ms: wall time of the prefill in milliseconds.
    """
    full, dropped = prompt.input_ids.numel(), int((~sequence.keep).sum())
    return PruneStats(
        visual_tokens=sequence.keep.numel(),
        kept_tokens=sequence.keep.numel() - dropped,
        floor_hit=sequence.floor_hit,
        cap_hit=sequence.cap_hit,
        kv_tokens_full=full,
        kv_tokens_kept=full - dropped,
        kv_bytes_full=token_bytes * full,
        kv_bytes_kept=token_bytes * (full - dropped),
        prefill_ms=prefill_ms,
    )


def check(model: GlimpseModel, rules: Sequence[Keep], limits: Sequence[int]) -> None:
    """Check rules and limits before anything is computed.

    Args:
        model: loaded model.
        rules: rule, mask or ``None`` for each item.
        limits: largest number of new tokens of each item.

    Raises:
        InputError: a limit is below 1, or a rule is given although the model cannot prune.
    """
    if any(limit < 1 for limit in limits):
        raise InputError(f"expected max_new_tokens of at least 1, found {min(limits)}; raise it")
    if model.method is None and any(rule is not None for rule in rules):
        raise InputError(
            "expected rule=None for a model without an add-on, found a rule; load the model with glimpse=..., or pass "
            "rule=None"
        )


def one_each(value: Any, count: int, name: str) -> list[Any]:
    """Spread a value over ``count`` items, or check that there is one value per item.

    Args:
        value: one value for all items, or a sequence with one per item.
        count: number of items.
        name: name of the argument, for the error message.

    Raises:
        InputError: the sequence does not have ``count`` entries.
    """
    if not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise InputError(f"{name} has {len(value)} entries for a batch of {count}; pass one per item, or one for all")
    return list(value)
