"""One page, many questions: what does not depend on the question is computed once.

The image stands before the question and attention is causal, so up to layer K the states of everything in front of the
first differing token are the same for all questions of a page. They are computed once, without a mask. The questions
then run as one short packed sequence in which each sees the shared prefix and itself, with appended tokens of its own;
and from layer K on, each runs with its own survivors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glimpseprune.decode.cache import Continuation, PrefillCache
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, run_layers
from glimpseprune.methods.base import Method
from glimpseprune.prefill.alone import (
    Place,
    appended_positions,
    attention_row,
    layer_major,
    next_position,
    select_tokens,
)
from glimpseprune.prefill.partial_layer import enter_layer, leave_layer, run_to_end
from glimpseprune.rule import KeepRule

_SCORED_AT_ONCE = 40_000
"""Visual tokens, over questions, that the predictor looks at in one call: enough to fill a GPU, and half a gigabyte at
the published width."""


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """The beginning that all questions of a page share, after layers 0..K.

    Attributes:
        prompt: the tokens that all prompts begin with, the image among them; P in number.
        cache: keys and values of layers 0..K.
        hidden: ``[1, P, D]`` at layer K, entered only (:mod:`glimpseprune.prefill.partial_layer`).
        conditions: what the method read of each image.
        places: positions of the visual tokens of each image.
    """

    prompt: Prompt
    cache: PrefillCache
    hidden: Tensor
    conditions: tuple[Any, ...]
    places: tuple[Place, ...]


def shared_length(ids: Sequence[Tensor]) -> int:
    """Count the tokens that all prompts ``[T_b]`` begin with; no prompt is shared whole."""
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
    """Run what all questions share through layers 0..K."""
    cache = PrefillCache()
    hidden = backbone.embed(prefix, images)
    rotary = backbone.rotary(prefix.position_ids[:, None])
    last = method.prune_layer
    hidden = run_layers(backbone, range(last), hidden, rotary, cache)
    hidden = enter_layer(backbone, last, hidden, rotary, cache)
    conditions = tuple(method.precompute(image.features, image.grid, image.cells) for image in images)
    return SharedPrefix(prefix, cache, hidden, conditions, tuple((image.grid, image.cells) for image in images))


def prefill_questions(
    backbone: Backbone,
    method: Method,
    page: SharedPrefix,
    prompts: Sequence[Prompt],
    rules: Sequence[KeepRule | Tensor],
) -> list[Prefilled]:
    """Prefill the questions of a page, each pruned by its rule; the same as each prompt by itself.

    Args:
        backbone: the model.
        method: scores the visual tokens.
        page: what the prompts share.
        prompts: each begins with ``page.prompt`` and goes on beyond it.
        rules: for each prompt, or the tokens to keep, bool ``[N]``.

    Raises:
        InputError: a mask of another length than the page has visual tokens.
    """
    groups = [prompts] if backbone.supports_attention_bias else [[prompt] for prompt in prompts]
    tails = [tail for group in groups for tail in _run_tails(backbone, method, page, group)]
    outcomes = []
    for scores, rule in zip(_scores(method, page, tails), rules, strict=True):
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


@dataclass(frozen=True, slots=True)
class _Tail:
    """A question after layer K.

    ``hidden`` is ``[T, D]``; ``keys`` and ``values`` are ``[H_kv, T, d]`` for each layer; ``attention`` is the last
    token's over the prefix, ``[P, len(attention_layers) * H]``. Appended tokens are gone.
    """

    hidden: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    attention: Tensor


def _run_tails(backbone: Backbone, method: Method, page: SharedPrefix, prompts: Sequence[Prompt]) -> list[_Tail]:
    """Layers 0..K of all questions as one packed sequence of R tokens behind the prefix."""
    shared = page.prompt.input_ids.numel()
    token = method.token_at(0)
    extra = 0 if token is None else method.appended
    lengths = [prompt.input_ids.numel() - shared for prompt in prompts]
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length + extra)
    pieces, places = [], []
    for prompt in prompts:
        pieces.append(backbone.embed_tokens(prompt.input_ids[None, shared:])[0])
        places.append(prompt.position_ids[:, shared:])
        if token is not None:
            pieces.append(token.to(pieces[-1].dtype))
            places.append(appended_positions(prompt, extra))
    hidden = torch.cat(pieces)[None]  # [1, R, D]
    rotary = backbone.rotary(torch.cat(places, dim=1)[:, None])
    device = hidden.device
    spans = [slice(start, start + length) for start, length in zip(starts, lengths, strict=False)]
    added_at = torch.cat([torch.arange(span.stop, span.stop + extra) for span in spans]).to(device)
    last = torch.tensor([end - 1 for end in starts[1:]], device=device)
    # Without a bias, attention is causal up to the last key: right for one question, and there is only one then.
    bias = _packed_bias(shared, starts, hidden) if backbone.supports_attention_bias else None

    run = Continuation(page.cache)
    rows: dict[int, list[Tensor]] = {}
    for layer in range(method.prune_layer + 1):
        added = method.token_at(layer)
        if layer and added is not None:
            hidden[:, added_at] += added.to(hidden.dtype).repeat(len(prompts), 1)
        entering = hidden[:, last]
        hidden = backbone.run_layer(layer, hidden, rotary, run, bias=bias)
        if layer in method.attention_layers:
            queries = backbone.queries(layer, entering, (rotary[0][:, last], rotary[1][:, last]))  # [Q, H, d]
            keys = run.keys[layer][0]
            rows[layer] = [
                attention_row(
                    query,
                    torch.cat([keys[:, :shared], keys[:, shared + a : shared + b]], 1),
                    method.raw_attention,
                )[:shared]
                for query, a, b in zip(queries, starts, starts[1:], strict=False)
            ]
    layers = range(method.prune_layer + 1)
    return [
        _Tail(
            hidden=hidden[0, span],
            keys=[run.keys[i][0, :, shared + span.start : shared + span.stop] for i in layers],
            values=[run.values[i][0, :, shared + span.start : shared + span.stop] for i in layers],
            attention=layer_major([rows[i][q] for i in method.attention_layers], hidden.new_empty(shared, 0)),
        )
        for q, span in enumerate(spans)
    ]


def _scores(method: Method, page: SharedPrefix, tails: Sequence[_Tail]) -> Iterator[tuple[Tensor, ...]]:
    """For each question the importance logits of each image, ``[N_i]``."""
    images = []
    for slots, condition in zip(page.prompt.image_slots, page.conditions, strict=True):
        at_once = max(1, _SCORED_AT_ONCE // slots.numel())
        parts = [
            method.score(torch.stack([tail.attention[slots] for tail in tails[i : i + at_once]]), condition)
            for i in range(0, len(tails), at_once)
        ]
        images.append(torch.cat(parts))  # [Q, N_i]
    return zip(*images, strict=True)


def _packed_bias(shared: int, starts: Sequence[int], like: Tensor) -> Tensor:
    """``[1, 1, R, shared + R]``, 0 where a token sees another, minus infinity where it does not.

    Everyone sees the ``shared`` first keys; within its question, which begins at ``starts``, a token sees what is
    before it and itself.
    """
    total = starts[-1]
    owner = torch.repeat_interleave(
        torch.arange(len(starts) - 1), torch.tensor([b - a for a, b in zip(starts, starts[1:], strict=False)])
    )
    own = (owner[:, None] == owner[None]).tril()
    bias = torch.full((total, shared + total), float("-inf"))
    bias[:, :shared] = 0.0
    bias[:, shared:][own] = 0.0
    return bias[None, None].to(device=like.device, dtype=like.dtype)


def _finish(
    backbone: Backbone,
    last_layer: int,
    page: SharedPrefix,
    prompts: Sequence[Prompt],
    tails: Sequence[_Tail],
    keeps: Sequence[Tensor],
) -> tuple[list[PrefillCache], Tensor]:
    """Layers K+1.. on the survivors of every question, padded at the right, where causal attention never looks.

    Args:
        backbone: the model.
        last_layer: K.
        page: what the questions share.
        prompts: the whole prompt of each question.
        tails: each question after layer K.
        keeps: for each question, which visual tokens stay, bool ``[N]``.

    Returns:
        The compact cache of each question, and the first answer token's logits ``[Q, vocab]``.
    """
    shared = page.prompt.input_ids.numel()
    device = page.hidden.device
    stays = torch.ones(len(prompts), shared, dtype=torch.bool, device=device)
    stays[:, torch.cat(page.prompt.image_slots)] = torch.stack(list(keeps))
    kept = [row.nonzero()[:, 0] for row in stays]
    # A token of the page leaves layer K the same for every question that keeps it.
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
