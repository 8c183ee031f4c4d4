"""``generate``: from what a processor makes to answers, pruned by a rule or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.greedy import Greedy
from glimpseprune.decode.pool import DecodePool
from glimpseprune.errors import InputError
from glimpseprune.families.base import EncodedImage, Prompt
from glimpseprune.model import GlimpseModel
from glimpseprune.prefill.alone import Prefilled, next_position, prefill_full, prefill_glimpse
from glimpseprune.prefill.shared import SharedPrefix, ask, read_prefix, shared_prefix
from glimpseprune.prefill.unpruned import answer_together
from glimpseprune.prefill.visible import drop_from_prompt, over_all_tokens, rule_for_visible
from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats, now_ms

Keep = KeepRule | Tensor | None
"""Which visual tokens of an item stay: by a rule, exactly those of a mask (bool ``[N]``), or all."""

_NO_ADDON = "a rule needs the glimpse add-on: load the model with glimpse=..., or pass rule=None"


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
    visible: Tensor | None = None,
) -> Output:
    """Answer several prompts about one image; the vision tower runs once. Otherwise as :func:`generate`.

    Args:
        model: from :func:`glimpseprune.load`.
        input_ids: token ids ``[T_b]`` of each prompt, the image's tokens included.
        pixels: patches of the image, ``[patches, patch_dim]``.
        grid: rows and columns of patches.
        rule: as in :func:`generate`.
        max_new_tokens: as in :func:`generate`.
        share: also run what the prompts have in common once, through layers 0..K where they are pruned and through all
            layers where they are not; the answers are the same.
        visible: visual tokens that vision tower and language model are to see at all, bool ``[N]``; ``None``: all.

    Raises:
        InputError: as in :func:`generate`.
    """
    prompts = model.backbone.page_prompts(input_ids, pixels, grid)
    return _generate(model, prompts, rule, max_new_tokens, share, visible)


@torch.inference_mode()
def prefill_page(
    model: GlimpseModel,
    input_ids: Sequence[Tensor],
    pixels: Tensor,
    grid: tuple[int, int],
    rules: Sequence[Keep],
    limits: Sequence[int],
    share: bool = True,
    visible: Tensor | None = None,
) -> tuple[list[Prefilled], list[PruneStats]]:
    """The first half of :func:`generate_page`: sequences that are ready for a :class:`~glimpseprune.DecodePool`.

    Args:
        model: from :func:`glimpseprune.load`.
        input_ids: as in :func:`generate_page`.
        pixels: as in :func:`generate_page`.
        grid: as in :func:`generate_page`.
        rules: one for each prompt.
        limits: new tokens at most, for each prompt.
        share: as in :func:`generate_page`.
        visible: as in :func:`generate_page`.

    Raises:
        InputError: as in :func:`generate`.
    """
    return _prefill_all(model, model.backbone.page_prompts(input_ids, pixels, grid), rules, limits, share, visible)


def _generate(
    model: GlimpseModel,
    prompts: Sequence[Prompt],
    rule: Keep | Sequence[Keep],
    max_new_tokens: int | Sequence[int],
    share: bool,
    visible: Tensor | None = None,
) -> Output:
    rules = one_each(rule, len(prompts), "rule")
    limits = one_each(max_new_tokens, len(prompts), "max_new_tokens")
    if any(limit < 1 for limit in limits):
        raise InputError(f"max_new_tokens has to be at least 1, got {min(limits)}")
    sequences, stats = _prefill_all(model, prompts, rules, limits, share, visible)
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
    model: GlimpseModel,
    prompts: Sequence[Prompt],
    rules: Sequence[Keep],
    limits: Sequence[int],
    share: bool,
    visible: Tensor | None,
) -> tuple[list[Prefilled], list[PruneStats]]:
    if model.glimpse is None and any(one is not None for one in rules):
        raise InputError(_NO_ADDON)
    if visible is not None:
        visible = visible.to(model.backbone.device)
        prompts = [drop_from_prompt(prompt, visible) for prompt in prompts]
        rules = [rule_for_visible(rule, visible) for rule in rules]
    sequences: list[Prefilled] = []
    stats: list[PruneStats] = []
    first = 0
    while first < len(prompts):
        count = _same_images(prompts[first:])
        some = slice(first, first + count)
        prefilled, measured = _prefill(model, prompts[some], rules[some], limits[some], share, visible)
        sequences += prefilled
        stats += measured
        first += count
    return (sequences, stats) if visible is None else over_all_tokens(sequences, stats, visible)


def one_each(value: Any, count: int, name: str) -> list[Any]:
    """A value for each of ``count`` items, from one for all or one for each."""
    if not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise InputError(f"{name} has {len(value)} entries for a batch of {count}")
    return list(value)


def encode_images(
    model: GlimpseModel, prompt: Prompt, visible: Tensor | None = None
) -> tuple[list[EncodedImage], float | None]:
    """The images of a prompt after the vision tower, and its wall time in milliseconds; ``None`` without images."""
    layers = () if model.glimpse is None else model.glimpse.config.selected_visual_layers
    start = now_ms(model.backbone.device)
    images = [model.backbone.encode(p, g, layers, visible) for p, g in zip(prompt.pixels, prompt.grids, strict=True)]
    return images, now_ms(model.backbone.device) - start if images else None


def _same_images(prompts: Sequence[Prompt]) -> int:
    """How many prompts, from the first on, are about the very same images."""
    first = prompts[0].pixels
    for count, prompt in enumerate(prompts):
        if len(prompt.pixels) != len(first) or any(a is not b for a, b in zip(prompt.pixels, first, strict=True)):
            return count
    return len(prompts)


def _prefill(
    model: GlimpseModel,
    prompts: Sequence[Prompt],
    rules: Sequence[Keep],
    limits: Sequence[int],
    share: bool,
    visible: Tensor | None,
) -> tuple[list[Prefilled], list[PruneStats]]:
    """Prefill prompts about the same images, what does not depend on the question once."""
    images, vision_ms = encode_images(model, prompts[0], visible)
    found: dict[int, tuple[Prefilled, PruneStats]] = {}
    prefix_ms: list[float] = []
    if share and images:
        for pruned in (True, False):
            rows = [i for i, rule in enumerate(rules) if (rule is not None) == pruned]
            prefix = shared_prefix([prompts[i] for i in rows]) if len(rows) > 1 else None
            if prefix is not None and (pruned or model.backbone.supports_attention_bias):
                mine = [prompts[i] for i in rows]
                if pruned:
                    pruning = [rule for rule in rules if rule is not None]
                    page, ms = read_page(model, prefix, images)
                    together = ask_pruned(model, page, mine, pruning)
                else:
                    together, ms = ask_unpruned(model, prefix, images, mine, [limits[i] for i in rows])
                found |= dict(zip(rows, together, strict=True))
                prefix_ms.append(ms)
    for i, (prompt, rule) in enumerate(zip(prompts, rules, strict=True)):
        if i not in found:
            found[i] = prefill_alone(model, prompt, images, rule)
    sequences = [found[i][0] for i in range(len(prompts))]
    stats = [found[i][1] for i in range(len(prompts))]
    stats[0].vision_ms, stats[0].prefix_ms = vision_ms, sum(prefix_ms) if prefix_ms else None
    return sequences, stats


def read_page(model: GlimpseModel, prefix: Prompt, images: Sequence[EncodedImage]) -> tuple[SharedPrefix, float]:
    """What all questions of a page share, up to layer K, and its wall time in milliseconds.

    Raises:
        InputError: the model has no add-on.
    """
    if model.glimpse is None:
        raise InputError(_NO_ADDON)
    start = now_ms(model.backbone.device)
    page = read_prefix(model.backbone, model.glimpse, prefix, images)
    return page, now_ms(model.backbone.device) - start


def ask_pruned(
    model: GlimpseModel, page: SharedPrefix, prompts: Sequence[Prompt], rules: Sequence[KeepRule | Tensor]
) -> list[tuple[Prefilled, PruneStats]]:
    """Each prompt about a page that has been read, pruned for itself.

    Raises:
        InputError: the model has no add-on, or a mask has another length than the page has visual tokens.
    """
    if model.glimpse is None:
        raise InputError(_NO_ADDON)
    start = now_ms(model.backbone.device)
    sequences = ask(model.backbone, model.glimpse, page, prompts, rules)
    each = (now_ms(model.backbone.device) - start) / len(prompts)
    pairs = zip(prompts, sequences, strict=True)
    return [(s, _stats(p, s, s.cache.nbytes // s.cache.tokens, each)) for p, s in pairs]


def ask_unpruned(
    model: GlimpseModel,
    prefix: Prompt,
    images: Sequence[EncodedImage],
    prompts: Sequence[Prompt],
    limits: Sequence[int],
) -> tuple[list[tuple[Prefilled, PruneStats]], float]:
    """Each prompt answered with every token, and the wall time of what they share in milliseconds."""
    greedy = Greedy(model.eos_token_ids, model.repetition_penalty)
    decoded, logits, token_bytes, (prefix_ms, questions_ms) = answer_together(
        model.backbone, prefix, images, prompts, limits, greedy
    )
    visual = sum(slots.numel() for slots in prefix.image_slots)
    keep = torch.ones(visual, dtype=torch.bool, device=model.backbone.device)
    found = []
    for prompt, answer, row in zip(prompts, decoded, logits, strict=True):
        sequence = Prefilled(PrefillCache(), row, next_position(prompt), None, keep, decoded=answer)
        found.append((sequence, _stats(prompt, sequence, token_bytes, questions_ms / len(prompts))))
    return found, prefix_ms


def prefill_alone(
    model: GlimpseModel, prompt: Prompt, images: Sequence[EncodedImage], rule: Keep
) -> tuple[Prefilled, PruneStats]:
    """One prompt by itself."""
    start = now_ms(model.backbone.device)
    if rule is not None and model.glimpse is not None and images:
        sequence = prefill_glimpse(model.backbone, model.glimpse, prompt, images, rule)
    else:
        sequence = prefill_full(model.backbone, prompt, images)
    ms = now_ms(model.backbone.device) - start
    return sequence, _stats(prompt, sequence, sequence.cache.nbytes // sequence.cache.tokens, ms)


def _stats(prompt: Prompt, sequence: Prefilled, token_bytes: int, prefill_ms: float) -> PruneStats:
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
