"""Runs questions behind their shared prefix up to layer K, and scores the visual tokens for each.

The tail of a prompt is what follows the prefix: the question. All tails run as one packed sequence, in which each sees
the prefix and itself, with appended tokens of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.cache import Continuation, PrefillCache
from glimpseprune.families.base import Backbone, Prompt
from glimpseprune.methods.base import Method
from glimpseprune.prefill.alone import appended_positions, attention_row, layer_major

_SCORED_AT_ONCE = 40_000
"""Visual tokens, summed over questions, that the predictor scores per call: enough to fill a GPU, and half a gigabyte
at the published width."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Holds a question after layer K, without its appended tokens.

    Attributes:
        hidden: hidden states ``[T, D]``.
        keys: keys ``[H_kv, T, d]`` of each layer, after rotary.
        values: values ``[H_kv, T, d]`` of each layer.
        attention: attention of the last token to the prefix, ``[P, len(attention_layers) * H]``.
    """

    hidden: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    attention: Tensor


def run_tails(backbone: Backbone, method: Method, prefix: PrefillCache, prompts: Sequence[Prompt]) -> list[Tail]:
    """Run all questions through layers 0..K as one packed sequence of R tokens behind the prefix.

    Args:
        backbone: backbone of the model.
        method: pruning method, which may append tokens to each question.
        prefix: keys and values of the shared prefix in layers 0..K.
        prompts: prompts that begin with the prefix and go on beyond it.
    """
    shared = prefix.tokens
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
    bias = _packed_bias(shared, starts, hidden)

    run = Continuation(prefix)
    rows: dict[int, list[Tensor]] = {}
    for layer in range(method.prune_layer + 1):
        added = method.token_at(layer)
        if layer and added is not None:
            hidden[:, added_at] += added.to(hidden.dtype).repeat(len(prompts), 1)
        entering = hidden[:, last]
        hidden = backbone.run_layer(layer, hidden, rotary, run, bias=bias)
        if layer in method.attention_layers:
            queries = backbone.queries(layer, entering, (rotary[0][:, last], rotary[1][:, last]))  # [Q, H, d]
            before, own = prefix.keys[layer][0], run.keys[layer][0]
            rows[layer] = [
                attention_row(query, torch.cat([before, own[:, a:b]], 1), method.raw_attention)[:shared]
                for query, a, b in zip(queries, starts, starts[1:], strict=False)
            ]
    layers = range(method.prune_layer + 1)
    return [
        Tail(
            hidden=hidden[0, span],
            keys=[run.keys[i][0, :, span] for i in layers],  # parts of what holds the tails of all, and no prefix
            values=[run.values[i][0, :, span] for i in layers],
            attention=layer_major([rows[i][q] for i in method.attention_layers], hidden.new_empty(shared, 0)),
        )
        for q, span in enumerate(spans)
    ]


def score_tails(
    method: Method, image_slots: Sequence[Tensor], conditions: Sequence[Any], tails: Sequence[Tail]
) -> Iterator[tuple[Tensor, ...]]:
    """Score the visual tokens for each question: one tensor of importance logits ``[N_i]`` per image.

    Args:
        method: pruning method.
        image_slots: positions of each image's visual tokens in the prefix, ``[N_i]``.
        conditions: result of the method's ``precompute`` for each image.
        tails: questions after layer K.
    """
    images = []
    for slots, condition in zip(image_slots, conditions, strict=True):
        at_once = max(1, _SCORED_AT_ONCE // slots.numel())
        parts = [
            method.score(torch.stack([tail.attention[slots] for tail in tails[i : i + at_once]]), condition)
            for i in range(0, len(tails), at_once)
        ]
        images.append(torch.cat(parts))  # [Q, N_i]
    return zip(*images, strict=True)


def _packed_bias(shared: int, starts: Sequence[int], like: Tensor) -> Tensor:
    """Make the bias ``[1, 1, R, shared + R]``: 0 where a token sees another, minus infinity elsewhere.

    Every token sees the first ``shared`` keys. Within its own question a token sees itself and what stands before it;
    question i begins at ``starts[i]``.
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
