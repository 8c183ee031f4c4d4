"""Prefills one prompt by itself, up to the logits of the first answer token, with or without pruning.

Without padding, attention is plain causal and needs no mask tensor, no work is wasted, and an item gets the same
numbers, bit for bit, in any batch. Module ``shared`` prefills several questions about one page.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.errors import InputError
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, Rotary, deep_features, run_layers
from glimpseprune.methods.base import Method
from glimpseprune.prefill.partial_layer import enter_layer, leave_layer, run_to_end
from glimpseprune.rule import KeepRule
from glimpseprune.selection import select

Place = tuple[tuple[int, int], Tensor | None, Tensor | None]
"""Grid, cells and ink of an image's visual tokens, as of :class:`~glimpseprune.families.base.EncodedImage`."""


def prefill_full(backbone: Backbone, prompt: Prompt, images: Sequence[EncodedImage]) -> Prefilled:
    """Prefill one prompt with every visual token, for the same logits as the stock model.

    Args:
        backbone: backbone of the model.
        prompt: one item of a batch.
        images: images of the prompt after the vision tower.
    """
    cache = PrefillCache()
    hidden = backbone.embed(prompt, images)  # [1, T, D]
    rotary = backbone.rotary(prompt.position_ids[:, None])
    ends = torch.tensor([hidden.shape[1] - 1], device=backbone.device)
    last = run_to_end(backbone, 0, hidden, rotary, cache, ends, deep_features(prompt, images))
    visual = sum(slots.numel() for slots in prompt.image_slots)
    keep = torch.ones(visual, dtype=torch.bool, device=backbone.device)
    return Prefilled(cache, backbone.logits(last)[0], next_position(prompt), None, keep)


def prefill_pruned(
    backbone: Backbone, method: Method, prompt: Prompt, images: Sequence[EncodedImage], rule: KeepRule | Tensor
) -> Prefilled:
    """Prefill one prompt and prune its visual tokens after layer K.

    Args:
        backbone: backbone of the model.
        method: pruning method.
        prompt: one item of a batch, with at least one image.
        images: images of the prompt after the vision tower, with features of the method's ``vision_layers``.
        rule: keep rule, applied to each image separately; or a mask of the visual tokens that stay, bool ``[N]``.

    Raises:
        InputError: the mask does not have one entry per visual token.
    """
    last = method.prune_layer
    cache = PrefillCache()
    hidden, attention = _run_to_prune_layer(backbone, method, prompt, images, cache)

    scores = [
        method.score(attention[None, slots], method.precompute(image.features, image.grid, image.cells))[0]
        for slots, image in zip(prompt.image_slots, images, strict=True)
    ]
    keep, floor_hit, cap_hit = select_tokens(scores, rule, [place_of(image) for image in images])
    survivors = surviving_tokens(prompt, keep)
    hidden = leave_layer(backbone, last, hidden, prompt.position_ids, cache, survivors)
    cache.keep(survivors)
    rotary = backbone.rotary(kept_positions(prompt, survivors)[:, None])
    ends = torch.tensor([hidden.shape[1] - 1], device=backbone.device)
    hidden = run_to_end(backbone, last + 1, hidden, rotary, cache, ends)
    return Prefilled(
        cache=cache,
        logits=backbone.logits(hidden)[0],
        next_position=next_position(prompt),
        scores=torch.cat(scores).float(),
        keep=keep,
        floor_hit=floor_hit,
        cap_hit=cap_hit,
    )


def surviving_tokens(prompt: Prompt, keep: Tensor) -> Tensor:
    """Find the places in the prompt of all text and the kept visual tokens.

    Args:
        prompt: one item of a batch.
        keep: mask of the visual tokens that stay, bool ``[N]``.

    Returns:
        Places ``[T']``, increasing.
    """
    stays = torch.ones(prompt.input_ids.numel(), dtype=torch.bool, device=keep.device)
    stays[torch.cat(prompt.image_slots)] = keep
    return stays.nonzero()[:, 0]


def kept_positions(prompt: Prompt, survivors: Tensor) -> Tensor:
    """Select the rotary positions ``[axes, T']`` of survivors, which are those of the unpruned prompt."""
    return prompt.position_ids.index_select(1, survivors)


def appended_positions(prompt: Prompt, count: int) -> Tensor:
    """Compute the rotary positions ``[axes, count]`` of tokens appended to the prompt, equal on all axes."""
    after = torch.arange(count, device=prompt.position_ids.device) + next_position(prompt)
    return after.expand(prompt.position_ids.shape[0], -1)


def place_of(image: EncodedImage) -> Place:
    """Take from an image what a keep rule goes by beside scores."""
    return image.grid, image.cells, image.inked


def select_tokens(
    scores: Sequence[Tensor], rule: KeepRule | Tensor, places: Sequence[Place]
) -> tuple[Tensor, bool, bool]:
    """Apply a rule to each image of a prompt, or check a mask and use it as it is.

    Args:
        scores: importance logits ``[N_i]`` of each image.
        rule: keep rule, or a mask over all images, bool ``[N]``.
        places: place of each image.

    Returns:
        The mask of the visual tokens that stay, bool ``[N]``; then two flags, true if the rule's floor decided in some
        image, and true if its cap did.

    Raises:
        InputError: the mask does not have one entry per visual token.
    """
    if isinstance(rule, Tensor):
        total = sum(score.numel() for score in scores)
        if rule.dtype != torch.bool or rule.shape != (total,):
            raise InputError(
                f"expected a mask of type bool and shape [{total}], found {rule.dtype} and {list(rule.shape)}; pass "
                "one entry per visual token"
            )
        return rule.to(scores[0].device), False, False
    chosen = [select(score, rule, *place) for score, place in zip(scores, places, strict=True)]
    keep = torch.cat([selection.keep for selection in chosen])
    return keep, any(selection.floor_hit for selection in chosen), any(selection.cap_hit for selection in chosen)


def next_position(prompt: Prompt) -> int:
    """Compute the rotary position that follows the prompt, the same on every axis."""
    return int(prompt.position_ids[:, -1].max()) + 1


def _run_to_prune_layer(
    backbone: Backbone, method: Method, prompt: Prompt, images: Sequence[EncodedImage], cache: PrefillCache
) -> tuple[Tensor, Tensor]:
    """Run layers 0..K-1 on the prompt and the appended tokens, and enter layer K.

    Layer K stays partial; :mod:`glimpseprune.prefill.partial_layer` says why.

    Args:
        backbone: backbone of the model.
        method: pruning method.
        prompt: one item of a batch.
        images: images of the prompt after the vision tower.
        cache: empty cache, filled for layers 0..K.

    Returns:
        The hidden states ``[1, T + appended, D]``, and the attention of the last token to the prompt,
        ``[T, len(attention_layers) * H]``.
    """
    hidden = backbone.embed(prompt, images)
    length = hidden.shape[1]
    positions = prompt.position_ids
    token = method.token_at(0)
    if token is not None:
        hidden = torch.cat([hidden, token[None].to(hidden.dtype)], dim=1)  # [1, T + appended, D]
        positions = torch.cat([positions, appended_positions(prompt, method.appended)], dim=1)
    rotary = backbone.rotary(positions[:, None])
    deep = deep_features(prompt, images)

    rows: dict[int, Tensor] = {}
    for layer in range(method.prune_layer + 1):
        token = method.token_at(layer)
        if layer and token is not None:
            hidden[:, length:] += token
        entering = hidden[:, -1:]
        if layer < method.prune_layer:
            hidden = run_layers(backbone, range(layer, layer + 1), hidden, rotary, cache, deep=deep)
        else:
            enter_layer(backbone, layer, hidden, rotary, cache)
        if layer in method.attention_layers:
            query = backbone.queries(layer, entering, last_rotary(rotary))[0]
            rows[layer] = attention_row(query, cache.keys[layer][0], method.raw_attention)[:length]
    return hidden, layer_major([rows[layer] for layer in method.attention_layers], hidden.new_empty(length, 0))


def last_rotary(rotary: Rotary) -> Rotary:
    """Select the cosines and sines of the last position."""
    cos, sin = rotary
    return cos[:, -1:], sin[:, -1:]


def attention_row(query: Tensor, keys: Tensor, raw: bool) -> Tensor:
    """Compute the attention of one token to T tokens at one layer.

    Args:
        query: query ``[H, d]`` of the token, after rotary, scaled by 1/sqrt(d).
        keys: keys ``[H_kv, T, d]`` of all tokens, each shared by H / H_kv heads.
        raw: true for scores before the softmax, false for their log-softmax over the tokens.

    Returns:
        Attention ``[T, H]``.
    """
    grouped = query.view(keys.shape[0], -1, query.shape[-1])  # [H_kv, H / H_kv, d]
    row = torch.matmul(grouped, keys.transpose(1, 2)).flatten(0, 1)  # [H, T]
    if not raw:
        row = row.log_softmax(dim=-1)
    return row.transpose(0, 1)


def layer_major(rows: Sequence[Tensor], none: Tensor) -> Tensor:
    """Join the attention ``[T, H]`` of several layers into ``[T, layers * H]``, or return ``none`` without any."""
    return torch.cat(list(rows), dim=-1) if rows else none
