"""Prefills the questions of a page behind a shared prefix, each pruned to its own survivors.

The image comes before the question and attention is causal. Up to layer K, the hidden states of the common beginning
are therefore the same for all questions, and are computed once. The questions follow as one short packed sequence
(module ``tails``). After layer K, each question runs with its own survivors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glimpseprune.decode.cache import Continuation, PrefillCache
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, deep_features, run_layers
from glimpseprune.methods.base import Method
from glimpseprune.prefill.alone import Place, next_position, place_of, select_tokens
from glimpseprune.prefill.partial_layer import enter_layer, leave_layer, run_to_end
from glimpseprune.prefill.tails import Tail, run_tails, score_tails
from glimpseprune.rule import KeepRule


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Holds the common beginning of a page's prompts after layers 0..K.

    Attributes:
        prompt: the P tokens that all prompts begin with, images included.
        cache: keys and values of layers 0..K.
        hidden: hidden states ``[1, P, D]`` that have entered layer K (:mod:`glimpseprune.prefill.partial_layer`).
        conditions: result of the method's ``precompute`` for each image.
        places: grid and cells of each image.
    """

    prompt: Prompt
    cache: PrefillCache
    hidden: Tensor
    conditions: tuple[Any, ...]
    places: tuple[Place, ...]


def shared_length(ids: Sequence[Tensor]) -> int:
    """Count the tokens that all prompts ``[T_b]`` begin with, short of a whole prompt."""
    length = min(one.numel() for one in ids) - 1
    for other in ids[1:]:
        differs = (other[:length] != ids[0][:length]).nonzero()
        length = int(differs[0]) if differs.numel() else length
    return length


def shared_prefix(prompts: Sequence[Prompt]) -> Prompt | None:
    """Find the longest common beginning of prompts; ``None`` unless it holds all images and each prompt goes on."""
    first = prompts[0]
    length = shared_length([prompt.input_ids for prompt in prompts])
    if not first.image_slots or int(first.image_slots[-1][-1]) >= length:
        return None
    return Prompt(
        input_ids=first.input_ids[:length],
        position_ids=first.position_ids[:, :length],
        pixels=first.pixels,
        grids=first.grids,
        image_slots=first.image_slots,
    )


def read_prefix(backbone: Backbone, method: Method, prefix: Prompt, images: Sequence[EncodedImage]) -> SharedPrefix:
    """Run the common beginning of a page's prompts through layers 0..K.

    Args:
        backbone: backbone of the model.
        method: pruning method.
        prefix: common beginning of the prompts, images included.
        images: images of the page after the vision tower, with features of the method's ``vision_layers``.
    """
    cache = PrefillCache()
    hidden = backbone.embed(prefix, images)
    rotary = backbone.rotary(prefix.position_ids[:, None])
    last = method.prune_layer
    hidden = run_layers(backbone, range(last), hidden, rotary, cache, deep=deep_features(prefix, images))
    enter_layer(backbone, last, hidden, rotary, cache)
    conditions = tuple(method.precompute(image.features, image.grid, image.cells) for image in images)
    return SharedPrefix(prefix, cache, hidden, conditions, tuple(place_of(image) for image in images))


def score_questions(backbone: Backbone, method: Method, page: SharedPrefix, prompts: Sequence[Prompt]) -> list[Tensor]:
    """Score the visual tokens for each question, and prefill none.

    Args:
        backbone: backbone of the model.
        method: pruning method.
        page: shared prefix of the prompts.
        prompts: prompts that begin with ``page.prompt`` and go on beyond it.

    Returns:
        Importance logits ``[N]`` of each question, float32.
    """
    scored = _scored_tails(backbone, method, page, prompts)[1]
    return [torch.cat(scores).float() for scores in scored]


def prefill_questions(
    backbone: Backbone,
    method: Method,
    page: SharedPrefix,
    prompts: Sequence[Prompt],
    rules: Sequence[KeepRule | Tensor],
) -> list[Prefilled]:
    """Prefill the questions of a page, each pruned by its rule, with the results of each prompt alone.

    Args:
        backbone: backbone of the model.
        method: pruning method.
        page: shared prefix of the prompts.
        prompts: prompts that begin with ``page.prompt`` and go on beyond it.
        rules: keep rule of each prompt, or a mask of the visual tokens that stay, bool ``[N]``.

    Raises:
        InputError: a mask does not have one entry per visual token.
    """
    tails, scored = _scored_tails(backbone, method, page, prompts)
    outcomes = []
    for scores, rule in zip(scored, rules, strict=True):
        outcomes.append((scores, *select_tokens(scores, rule, page.places)))
    keeps = [keep for _, keep, _, _ in outcomes]
    caches, logits = _finish(backbone, method.prune_layer, page, prompts, tails, keeps)
    return [
        Prefilled(
            cache=cache,
            logits=row,
            next_position=next_position(prompt),
            scores=torch.cat(scores).float(),
            keep=keep,
            floor_hit=floor_hit,
            cap_hit=cap_hit,
        )
        for prompt, cache, row, (scores, keep, floor_hit, cap_hit) in zip(
            prompts, caches, logits, outcomes, strict=True
        )
    ]


def _scored_tails(
    backbone: Backbone, method: Method, page: SharedPrefix, prompts: Sequence[Prompt]
) -> tuple[list[Tail], list[tuple[Tensor, ...]]]:
    """Run the questions up to layer K; return their tails, and for each its scores ``[N_i]`` of every image."""
    tails = run_tails(backbone, method, page.cache, prompts)
    return tails, list(score_tails(method, page.prompt.image_slots, page.conditions, tails))


def _finish(
    backbone: Backbone,
    last_layer: int,
    page: SharedPrefix,
    prompts: Sequence[Prompt],
    tails: Sequence[Tail],
    keeps: Sequence[Tensor],
) -> tuple[list[PrefillCache], Tensor]:
    """Run the layers after K for all questions, each on its survivors.

    The questions run as a batch with padding on the right, which causal attention never reaches.

    Args:
        backbone: backbone of the model.
        last_layer: number K of the prune layer.
        page: shared prefix of the questions.
        prompts: whole prompt of each question.
        tails: tail of each question after layer K.
        keeps: mask of the visual tokens that stay for each question, bool ``[N]``.

    Returns:
        The cache of each question without pruned tokens, and the logits ``[Q, vocab]`` of the first answer tokens.
    """
    shared = page.prompt.input_ids.numel()
    device = page.hidden.device
    stays = torch.ones(len(prompts), shared, dtype=torch.bool, device=device)
    stays[:, torch.cat(page.prompt.image_slots)] = torch.stack(list(keeps))
    kept = [row.nonzero()[:, 0] for row in stays]
    # A token of the prefix leaves layer K with the same state for every question, so each runs once.
    some = stays.any(0).nonzero()[:, 0]
    left = leave_layer(backbone, last_layer, page.hidden, page.prompt.position_ids, page.cache, some)[0]
    hiddens = [
        torch.cat([left[torch.searchsorted(some, at)], tail.hidden]) for at, tail in zip(kept, tails, strict=True)
    ]
    positions = [
        torch.cat([prompt.position_ids[:, at], prompt.position_ids[:, shared:]], dim=1).T
        for at, prompt in zip(kept, prompts, strict=True)
    ]
    lengths = [hidden.shape[0] for hidden in hiddens]
    hidden = pad_sequence(hiddens, batch_first=True)  # [Q, S, D]
    rotary = backbone.rotary(pad_sequence(positions, batch_first=True).permute(2, 0, 1))
    run = Continuation()
    ends = torch.tensor(lengths, device=device) - 1
    hidden = run_to_end(backbone, last_layer + 1, hidden, rotary, run, ends)
    caches = []
    for row, (at, tail, length) in enumerate(zip(kept, tails, lengths, strict=True)):
        cache = PrefillCache()
        for layer in range(backbone.num_layers):
            if layer <= last_layer:
                keys = torch.cat([page.cache.keys[layer][0, :, at], tail.keys[layer]], dim=1)[None]
                values = torch.cat([page.cache.values[layer][0, :, at], tail.values[layer]], dim=1)[None]
            else:
                keys, values = (t[layer][row : row + 1, :, :length].clone() for t in (run.keys, run.values))
            cache.update(keys, values, layer)
        caches.append(cache)
    return caches, backbone.logits(hidden)
