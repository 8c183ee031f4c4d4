"""Computes how likely a prefilled sequence goes on with each of several given texts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glimpseprune.decode.cache import PrefillCache, apart
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.families.base import Backbone, run_layers

_AT_ONCE = 16  # continuations in one batch; each has logits over the vocabulary for every token


class _Behind:
    """Shows each of B continuations the prefix, which stays as it is; the new keys and values are not kept."""

    def __init__(self, prefix: PrefillCache) -> None:
        self.prefix = prefix

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return the prefix with the new keys and values ``[B, H_kv, T, d]`` behind it."""
        before = self.prefix.keys[layer_idx], self.prefix.values[layer_idx]
        batch = keys.shape[0]
        both = [torch.cat([a.expand(batch, -1, -1, -1), b], 2) for a, b in zip(before, (keys, values), strict=True)]
        return both[0], both[1]

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Do the same with joined keys and values ``[B, T, 2 * H_kv, d]``."""
        return self.update(*apart(both), layer_idx)


def continuation_logprobs(
    backbone: Backbone, sequence: Prefilled, continuations: Sequence[Tensor], ends: Collection[int]
) -> Tensor:
    """Return the log-probability ``[C]`` that a sequence goes on with each continuation and then ends.

    Args:
        backbone: backbone of the model.
        sequence: result of prefill, whose cache is not changed.
        continuations: token ids ``[T_c]`` of each continuation, at least one token each, without an end.
        ends: tokens that end a sequence.
    """
    found = []
    first = sequence.logits.log_softmax(dim=-1)
    last = torch.tensor(sorted(ends), device=backbone.device)
    for start in range(0, len(continuations), _AT_ONCE):
        some = [tokens.to(backbone.device) for tokens in continuations[start : start + _AT_ONCE]]
        lengths = torch.tensor([tokens.numel() for tokens in some], device=backbone.device)
        padded = pad_sequence(some, batch_first=True)  # [C, T]
        later = logits_behind(backbone, sequence.cache, sequence.next_position, padded).log_softmax(dim=-1)
        inside = torch.arange(1, padded.shape[1], device=backbone.device) < lengths[:, None]
        each = later[:, :-1].gather(2, padded[:, 1:, None])[:, :, 0].masked_fill(~inside, 0.0)
        ended = later[torch.arange(len(some), device=backbone.device), lengths - 1][:, last].logsumexp(dim=-1)
        found.append(first[padded[:, 0]] + each.sum(dim=1) + ended)
    return torch.cat(found)


def logits_behind(backbone: Backbone, cache: PrefillCache, next_position: int, tokens: Tensor) -> Tensor:
    """Run tokens behind a prefilled sequence, whose cache stays as it is.

    Args:
        backbone: backbone of the model.
        cache: keys and values of the sequence, in every layer.
        next_position: rotary position of the first of the tokens.
        tokens: token ids ``[C, T]`` of each continuation.

    Returns:
        Logits ``[C, T, vocab]`` of what follows each token, float32.
    """
    count, length = tokens.shape
    positions = torch.arange(length, device=tokens.device) + next_position
    rotary = backbone.rotary(positions.expand(backbone.rotary_axes, count, -1))
    hidden = backbone.embed_tokens(tokens)
    size = cache.tokens + length
    bias = hidden.new_full((length, size), float("-inf")).triu(size - length + 1)[None, None]
    hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, _Behind(cache), bias=bias)
    return backbone.logits(hidden.flatten(0, 1)).view(count, length, -1)
