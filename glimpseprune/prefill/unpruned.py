"""Answers the questions of a page together, with every visual token and one cache for all of them.

The cache is a log: first the prefix, then the tokens of all questions in the order in which they are computed. A token
sees the prefix and the tokens of its own question. The prefix is therefore never copied, and all questions decode
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.cache import joined
from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.greedy import Decoded, Greedy, Row
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, deep_features, run_layers
from glimpseprune.prefill.alone import next_position
from glimpseprune.stats import now_ms

_SHARED = -1  # owner of the prefix, which every question sees


class LogCache:
    """Stores the keys and values of a growing log, ``[1, 2 * H_kv, capacity, d]`` per layer, keys first.

    Args:
        capacity: largest number of tokens in the log.

    Attributes:
        end: number of tokens in the log.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.end = 0
        self.layers: list[Tensor] = []

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values ``[1, H_kv, T, d]``, and return what :meth:`append` does."""
        return self.append(joined(keys, values), layer_idx)

    def append(self, both: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Append the new tokens' keys and values ``[1, T, 2 * H_kv, d]``, and return those of the whole log."""
        _, count, heads, size = both.shape
        if layer_idx == len(self.layers):
            self.layers.append(both.new_empty(1, heads, self.capacity, size))
        end = self.end + count
        self.layers[layer_idx][:, :, self.end : end] = both.transpose(1, 2)
        keys, values = self.layers[layer_idx][:, :, :end].chunk(2, dim=1)
        return keys, values

    def advance(self, tokens: int) -> None:
        """Make the tokens that every layer has appended a lasting part of the log."""
        self.end += tokens

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return sum(layer.nbytes for layer in self.layers) // self.capacity


def answer_together(
    backbone: Backbone,
    prefix: Prompt,
    images: Sequence[EncodedImage],
    prompts: Sequence[Prompt],
    limits: Sequence[int],
    constraints: Sequence[BeginConstraint | None],
    greedy: Greedy,
) -> tuple[list[Decoded], Tensor, int, tuple[float, float]]:
    """Answer the questions of a page with every visual token, with the same tokens as each prompt alone.

    Args:
        backbone: backbone of the model, with support for attention biases.
        prefix: common beginning of the prompts, images included.
        images: images of the page after the vision tower.
        prompts: prompts that begin with the prefix and go on beyond it.
        limits: largest number of new tokens of each prompt.
        constraints: function that makes the limits of each answer's tokens; ``None`` for none.
        greedy: greedy search that chooses the tokens.

    Returns:
        The answers; the logits ``[Q, vocab]`` of their first tokens; the bytes of one cached token; and two wall times
        in milliseconds, of the prefix and of the questions up to their first logits.
    """
    shared = prefix.input_ids.numel()
    lengths = [prompt.input_ids.numel() - shared for prompt in prompts]
    log = LogCache(shared + sum(lengths) + sum(limits))
    owner = torch.full((log.capacity,), _SHARED, device=backbone.device)
    start = now_ms(backbone.device)
    _begin(backbone, log, prefix, images)
    read = now_ms(backbone.device)
    hidden = _append(
        backbone,
        log,
        owner,
        torch.repeat_interleave(torch.arange(len(prompts)), torch.tensor(lengths)).to(backbone.device),
        torch.cat([backbone.embed_tokens(prompt.input_ids[None, shared:]) for prompt in prompts], dim=1),
        torch.cat([prompt.position_ids[:, shared:] for prompt in prompts], dim=1),
    )
    ends = torch.tensor(lengths, device=backbone.device).cumsum(0) - 1
    first_logits = logits = backbone.logits(hidden[0, ends])
    asked = now_ms(backbone.device)

    rows = [
        Row(prompt.input_ids, limit, next_position(prompt), begin and begin())
        for prompt, limit, begin in zip(prompts, limits, constraints, strict=True)
    ]
    active = list(range(len(rows)))
    seen = greedy.seen(rows, logits.shape[1])
    began = asked
    while active:
        greedy.choose(logits, [rows[i] for i in active], seen)
        now = now_ms(backbone.device)
        for i in active:
            rows[i].result.decode_ms += (now - began) / len(active)
        began = now
        going = [place for place, i in enumerate(active) if not greedy.over(rows[i])]
        if seen is not None and len(going) < len(active):
            seen = seen[going]
        active = [active[place] for place in going]
        if active:
            step = [active, [rows[i].result.tokens[-1] for i in active], [rows[i].position for i in active]]
            whose, tokens, positions = torch.tensor(step, device=backbone.device).unbind()
            hidden = backbone.embed_tokens(tokens[None])
            hidden = _append(backbone, log, owner, whose, hidden, positions.expand(backbone.rotary_axes, -1))
            logits = backbone.logits(hidden[0])
    return [row.result for row in rows], first_logits, log.token_bytes, (read - start, asked - read)


def _begin(backbone: Backbone, log: LogCache, prefix: Prompt, images: Sequence[EncodedImage]) -> None:
    """Run the prefix; the last layer computes only its keys and values, since nothing reads its output.

    Args:
        backbone: backbone of the model.
        log: empty log.
        prefix: common beginning of the prompts.
        images: images of the page after the vision tower.
    """
    last = backbone.num_layers - 1
    rotary = backbone.rotary(prefix.position_ids[:, None])
    hidden = backbone.embed(prefix, images)
    hidden = run_layers(backbone, range(last), hidden, rotary, log, deep=deep_features(prefix, images))
    log.update(*backbone.keys_values(last, hidden, rotary), last)
    log.advance(hidden.shape[1])


def _append(
    backbone: Backbone,
    log: LogCache,
    owner: Tensor,
    whose: Tensor,
    hidden: Tensor,
    positions: Tensor,
) -> Tensor:
    """Run T tokens at the end of the log: ``[1, T, D] -> [1, T, D]``.

    Args:
        backbone: backbone of the model.
        log: cache of the prefix and all questions.
        owner: question of each token in the log, ``[capacity]``; those of the new tokens are written into it.
        whose: question of each new token, ``[T]``.
        hidden: embeddings ``[1, T, D]`` of the new tokens.
        positions: rotary positions ``[axes, T]`` of the new tokens.
    """
    count = whose.numel()
    end = log.end + count
    owner[log.end : end] = whose
    seen = (owner[None, :end] == _SHARED) | (owner[None, :end] == whose[:, None])
    seen &= torch.arange(end, device=whose.device)[None] <= torch.arange(log.end, end, device=whose.device)[:, None]
    bias = torch.zeros(count, end, dtype=hidden.dtype, device=hidden.device).masked_fill(~seen, float("-inf"))
    rotary = backbone.rotary(positions[:, None])
    hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, log, bias=bias[None, None])
    log.advance(count)
    return hidden
