"""``generate``: from what a processor makes to answers, pruned by a rule or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimpseprune.backbone import EncodedImage, Prompt
from glimpseprune.errors import InputError
from glimpseprune.model import GlimpseModel
from glimpseprune.pool import DecodePool
from glimpseprune.prefill import Prefilled, prefill_full, prefill_glimpse
from glimpseprune.rule import KeepRule
from glimpseprune.shared import ask, read_prefix, shared_prefix
from glimpseprune.stats import PruneStats, now_ms

Keep = KeepRule | Tensor | None
"""Which visual tokens of an item stay: by a rule, exactly those of a mask (bool ``[N]``), or all."""


@dataclass(slots=True)
class Output:
    """Answers of a batch of B items.

    Attributes:
        sequences: new tokens of each item, the end-of-sequence token included.
        logprobs: log-probability of each new token under the model, same shapes as ``sequences``.
        scores: importance logits ``[N_b]`` of each item's visual tokens; ``None`` where nothing was scored.
        keep: which visual tokens stayed, bool ``[N_b]``.
        first_logits: ``[B, vocab]`` of the first new token, float32.
        stats: figures of each item.
    """

    sequences: list[Tensor]
    logprobs: list[Tensor]
    scores: list[Tensor | None]
    keep: list[Tensor]
    first_logits: Tensor
    stats: list[PruneStats]


@torch.inference_mode()
def generate(
    model: GlimpseModel,
    inputs: Mapping[str, Any],
    rule: Keep | Sequence[Keep] = None,
    max_new_tokens: int | Sequence[int] = 32,
) -> Output:
    """Answer every item of a batch greedily.

    The tokens of an item do not depend on what else is in the batch, and with ``rule=None`` they are the stock model's.

    Args:
        model: from :func:`glimpseprune.load`.
        inputs: ``input_ids``, ``attention_mask`` (padding on any side), ``pixel_values``, ``image_grid_thw``, as the
            processor makes them. An item may have no image, or several.
        rule: which visual tokens to keep, for all items or one for each: a rule, a mask, or ``None`` for everything.
        max_new_tokens: limit for all items or one for each, at least 1.

    Raises:
        InputError: the inputs do not fit together, or a rule is given and the model has no add-on.
    """
    return _generate(model, model.backbone.prompts(inputs), rule, max_new_tokens, share=False)


@torch.inference_mode()
def generate_page(
    model: GlimpseModel,
    input_ids: Sequence[Tensor],
    pixels: Tensor,
    grid: tuple[int, int],
    rule: Keep | Sequence[Keep] = None,
    max_new_tokens: int | Sequence[int] = 32,
    share: bool = True,
) -> Output:
    """Answer several prompts about one image; the vision tower runs once. Otherwise as :func:`generate`.

    Args:
        model: from :func:`glimpseprune.load`.
        input_ids: token ids ``[T_b]`` of each prompt, the image's tokens included.
        pixels: patches of the image, ``[patches, patch_dim]``.
        grid: rows and columns of patches.
        rule: as in :func:`generate`.
        max_new_tokens: as in :func:`generate`.
        share: also run layers 0..K once over what the pruned prompts have in common; the answers are the same.

    Raises:
        InputError: as in :func:`generate`.
    """
    return _generate(model, model.backbone.page_prompts(input_ids, pixels, grid), rule, max_new_tokens, share)


@torch.inference_mode()
def prefill_page(
    model: GlimpseModel,
    input_ids: Sequence[Tensor],
    pixels: Tensor,
    grid: tuple[int, int],
    rules: Sequence[Keep],
    share: bool = True,
) -> tuple[list[Prefilled], list[PruneStats]]:
    """The first half of :func:`generate_page`: sequences that are ready for a :class:`~glimpseprune.pool.DecodePool`.

    Args:
        model: from :func:`glimpseprune.load`.
        input_ids: as in :func:`generate_page`.
        pixels: as in :func:`generate_page`.
        grid: as in :func:`generate_page`.
        rules: one for each prompt.
        share: as in :func:`generate_page`.

    Raises:
        InputError: as in :func:`generate`.
    """
    return _prefill_all(model, model.backbone.page_prompts(input_ids, pixels, grid), rules, share)


def _generate(
    model: GlimpseModel,
    prompts: Sequence[Prompt],
    rule: Keep | Sequence[Keep],
    max_new_tokens: int | Sequence[int],
    share: bool,
) -> Output:
    rules = _one_each(rule, len(prompts), "rule")
    limits = _one_each(max_new_tokens, len(prompts), "max_new_tokens")
    if any(limit < 1 for limit in limits):
        raise InputError(f"max_new_tokens has to be at least 1, got {min(limits)}")
    sequences, stats = _prefill_all(model, prompts, rules, share)
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


def _prefill_all(
    model: GlimpseModel, prompts: Sequence[Prompt], rules: Sequence[Keep], share: bool
) -> tuple[list[Prefilled], list[PruneStats]]:
    if model.glimpse is None and any(one is not None for one in rules):
        raise InputError("a rule needs the glimpse add-on: load the model with glimpse=..., or pass rule=None")
    sequences: list[Prefilled] = []
    stats: list[PruneStats] = []
    first = 0
    while first < len(prompts):
        count = _same_images(prompts[first:])
        some = slice(first, first + count)
        prefilled, measured = _prefill(model, prompts[some], rules[some], share)
        sequences += prefilled
        stats += measured
        first += count
    return sequences, stats


def _one_each(value: Any, count: int, name: str) -> list[Any]:
    if not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise InputError(f"{name} has {len(value)} entries for a batch of {count}")
    return list(value)


def _encode(model: GlimpseModel, prompt: Prompt) -> tuple[list[EncodedImage], float | None]:
    """The images of a prompt after the vision tower, and its wall time in milliseconds; ``None`` without images."""
    layers = () if model.glimpse is None else model.glimpse.config.selected_visual_layers
    start = now_ms(model.backbone.device)
    images = [model.backbone.encode(p, g, layers) for p, g in zip(prompt.pixels, prompt.grids, strict=True)]
    return images, now_ms(model.backbone.device) - start if images else None


def _same_images(prompts: Sequence[Prompt]) -> int:
    """How many prompts, from the first on, are about the very same images."""
    first = prompts[0].pixels
    for count, prompt in enumerate(prompts):
        if len(prompt.pixels) != len(first) or any(a is not b for a, b in zip(prompt.pixels, first, strict=True)):
            return count
    return len(prompts)


def _prefill(
    model: GlimpseModel, prompts: Sequence[Prompt], rules: Sequence[Keep], share: bool
) -> tuple[list[Prefilled], list[PruneStats]]:
    """Prefill prompts about the same images; those that are pruned share what does not depend on the question."""
    images, vision_ms = _encode(model, prompts[0])
    together = [i for i, rule in enumerate(rules) if rule is not None and images] if share else []
    sequences: dict[int, Prefilled] = {}
    prefill_ms: dict[int, float] = {}
    prefix_ms: float | None = None
    prefix = shared_prefix([prompts[i] for i in together]) if len(together) > 1 else None
    if prefix is not None and model.glimpse is not None:
        start = now_ms(model.backbone.device)
        page = read_prefix(model.backbone, model.glimpse, prefix, images)
        read = now_ms(model.backbone.device)
        pruning = [rule for rule in rules if rule is not None]
        found = ask(model.backbone, model.glimpse, page, [prompts[i] for i in together], pruning)
        each = (now_ms(model.backbone.device) - read) / len(together)
        prefix_ms = read - start
        sequences |= dict(zip(together, found, strict=True))
        prefill_ms |= dict.fromkeys(together, each)
    for i, (prompt, rule) in enumerate(zip(prompts, rules, strict=True)):
        if i not in sequences:
            start = now_ms(model.backbone.device)
            sequences[i] = _prefill_alone(model, prompt, images, rule)
            prefill_ms[i] = now_ms(model.backbone.device) - start
    stats = [_stats(prompts[i], sequences[i], prefill_ms[i]) for i in range(len(prompts))]
    stats[0].vision_ms, stats[0].prefix_ms = vision_ms, prefix_ms
    return [sequences[i] for i in range(len(prompts))], stats


def _prefill_alone(model: GlimpseModel, prompt: Prompt, images: Sequence[EncodedImage], rule: Keep) -> Prefilled:
    if rule is not None and model.glimpse is not None and images:
        return prefill_glimpse(model.backbone, model.glimpse, prompt, images, rule)
    return prefill_full(model.backbone, prompt, images)


def _stats(prompt: Prompt, sequence: Prefilled, prefill_ms: float) -> PruneStats:
    kept_tokens, kept_bytes = sequence.cache.tokens, sequence.cache.nbytes
    full_tokens = prompt.input_ids.numel()
    return PruneStats(
        visual_tokens=sequence.keep.numel(),
        kept_tokens=int(sequence.keep.sum()),
        floor_hit=sequence.floor_hit,
        cap_hit=sequence.cap_hit,
        kv_tokens_full=full_tokens,
        kv_tokens_kept=kept_tokens,
        kv_bytes_full=kept_bytes // kept_tokens * full_tokens,
        kv_bytes_kept=kept_bytes,
        prefill_ms=prefill_ms,
    )
