"""``generate``: from what a processor makes to answers, pruned by a rule or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimpseprune.backbone import EncodedImage, Prompt
from glimpseprune.decode import decode
from glimpseprune.errors import InputError
from glimpseprune.model import GlimpseModel
from glimpseprune.prefill import Prefilled, prefill_full, prefill_glimpse
from glimpseprune.rule import KeepRule
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
    return _generate(model, model.backbone.prompts(inputs), rule, max_new_tokens)


@torch.inference_mode()
def generate_page(
    model: GlimpseModel,
    input_ids: Sequence[Tensor],
    pixels: Tensor,
    grid: tuple[int, int],
    rule: Keep | Sequence[Keep] = None,
    max_new_tokens: int | Sequence[int] = 32,
) -> Output:
    """Answer several prompts about one image; the vision tower runs once. Otherwise as :func:`generate`.

    Args:
        model: from :func:`glimpseprune.load`.
        input_ids: token ids ``[T_b]`` of each prompt, the image's tokens included.
        pixels: patches of the image, ``[patches, patch_dim]``.
        grid: rows and columns of patches.
        rule: as in :func:`generate`.
        max_new_tokens: as in :func:`generate`.

    Raises:
        InputError: as in :func:`generate`.
    """
    return _generate(model, model.backbone.page_prompts(input_ids, pixels, grid), rule, max_new_tokens)


def _generate(
    model: GlimpseModel,
    prompts: Sequence[Prompt],
    rule: Keep | Sequence[Keep],
    max_new_tokens: int | Sequence[int],
) -> Output:
    rules = _one_each(rule, len(prompts), "rule")
    limits = _one_each(max_new_tokens, len(prompts), "max_new_tokens")
    if any(limit < 1 for limit in limits):
        raise InputError(f"max_new_tokens has to be at least 1, got {min(limits)}")
    if model.glimpse is None and any(one is not None for one in rules):
        raise InputError("a rule needs the glimpse add-on: load the model with glimpse=..., or pass rule=None")

    sequences, stats = [], []
    seen: tuple[Tensor, ...] = ()
    images: list[EncodedImage] = []
    for prompt, one in zip(prompts, rules, strict=True):
        vision_ms = None
        if len(seen) != len(prompt.pixels) or any(a is not b for a, b in zip(seen, prompt.pixels, strict=True)):
            seen = prompt.pixels
            images, vision_ms = _encode(model, prompt)
        sequence, figures = _prefill(model, prompt, images, one)
        figures.vision_ms = vision_ms
        sequences.append(sequence)
        stats.append(figures)
    first_logits = torch.stack([sequence.logits for sequence in sequences])
    ids = [prompt.input_ids for prompt in prompts]
    decoded = decode(model.backbone, sequences, ids, limits, model.eos_token_ids, model.repetition_penalty)
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


def _prefill(
    model: GlimpseModel, prompt: Prompt, images: Sequence[EncodedImage], rule: Keep
) -> tuple[Prefilled, PruneStats]:
    backbone, glimpse = model.backbone, model.glimpse
    start = now_ms(backbone.device)
    if rule is not None and glimpse is not None and images:
        sequence = prefill_glimpse(backbone, glimpse, prompt, images, rule)
    else:
        sequence = prefill_full(backbone, prompt, images)
    done = now_ms(backbone.device)
    kept_tokens, kept_bytes = sequence.cache.tokens, sequence.cache.nbytes
    full_tokens = prompt.input_ids.numel()
    return sequence, PruneStats(
        visual_tokens=sequence.keep.numel(),
        kept_tokens=int(sequence.keep.sum()),
        floor_hit=sequence.floor_hit,
        cap_hit=sequence.cap_hit,
        kv_tokens_full=full_tokens,
        kv_tokens_kept=kept_tokens,
        kv_bytes_full=kept_bytes // kept_tokens * full_tokens,
        kv_bytes_kept=kept_bytes,
        prefill_ms=done - start,
    )
