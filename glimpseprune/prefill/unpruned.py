"""Questions of a page without pruning: the prefix once, and every question and answer behind it in one log.

The cache is a log: first the shared prefix, then the tokens of all questions as they come. A token sees the prefix and
what belongs to its own question, so nothing of the prefix is copied, and all questions decode together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glimpseprune.decode.greedy import Decoded, Greedy, Row
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, run_layers
from glimpseprune.prefill.alone import next_position
from glimpseprune.stats import now_ms

_SHARED = -1  # owner of the tokens everyone sees


class LogCache:
    """Keys and values of a growing log, ``[1, H_kv, capacity, d]`` per layer.

    Args:
        capacity: tokens that will be appended in all.

    Attributes:
        end: tokens in the log.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.end = 0
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append the new tokens' keys and values ``[1, H_kv, T, d]``; return the whole log."""
        if layer_idx == len(self.keys):
            shape = (1, keys.shape[1], self.capacity, keys.shape[3])
            self.keys.append(keys.new_empty(shape))
            self.values.append(values.new_empty(shape))
        end = self.end + keys.shape[2]
        self.keys[layer_idx][:, :, self.end : end] = keys
        self.values[layer_idx][:, :, self.end : end] = values
        return self.keys[layer_idx][:, :, :end], self.values[layer_idx][:, :, :end]

    def advance(self, tokens: int) -> None:
        """The tokens written by every layer's ``update`` now belong to the log."""
        self.end += tokens

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        held = sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))
        return held // self.capacity


def answer_together(
    backbone: Backbone,
    prefix: Prompt,
    images: Sequence[EncodedImage],
    prompts: Sequence[Prompt],
    limits: Sequence[int],
    greedy: Greedy,
) -> tuple[list[Decoded], Tensor, int, tuple[float, float]]:
    """Answer the questions of a page with every visual token; the tokens are those of each prompt alone.

    Args:
        backbone: the model; its attention takes a bias.
        prefix: what all prompts begin with.
        images: images of the page.
        prompts: each goes on beyond the prefix.
        limits: new tokens at most, for each prompt.
        greedy: chooses the tokens.

    Returns:
        The answers; the first token's logits ``[Q, vocab]``; bytes of one cached token; and the wall time of the
        prefix, and of the questions up to their first logits, in milliseconds.
    """
    shared = prefix.input_ids.numel()
    lengths = [prompt.input_ids.numel() - shared for prompt in prompts]
    log = LogCache(shared + sum(lengths) + sum(limits))
    owner = torch.full((log.capacity,), _SHARED, device=backbone.device)
    start = now_ms(backbone.device)
    _begin(backbone, log, backbone.embed(prefix, images), prefix.position_ids)
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

    rows = [Row(p.input_ids, limit, next_position(p)) for p, limit in zip(prompts, limits, strict=True)]
    active = list(range(len(rows)))
    began = asked
    while active:
        greedy.choose(logits, [rows[i] for i in active])
        now = now_ms(backbone.device)
        for i in active:
            rows[i].result.decode_ms += (now - began) / len(active)
        began = now
        active = [i for i in active if not greedy.over(rows[i])]
        if active:
            tokens = torch.tensor([[rows[i].result.tokens[-1] for i in active]], device=backbone.device)
            positions = torch.tensor([rows[i].position for i in active], device=backbone.device)
            hidden = _append(
                backbone,
                log,
                owner,
                torch.tensor(active, device=backbone.device),
                backbone.embed_tokens(tokens),
                positions.expand(backbone.rotary_axes, -1),
            )
            logits = backbone.logits(hidden[0])
    return [row.result for row in rows], first_logits, log.token_bytes, (read - start, asked - read)


def _begin(backbone: Backbone, log: LogCache, hidden: Tensor, positions: Tensor) -> None:
    """Run the prefix ``[1, T, D]``, of which the last layer's keys and values are all that is looked at."""
    last = backbone.num_layers - 1
    rotary = backbone.rotary(positions[:, None])
    hidden = run_layers(backbone, range(last), hidden, rotary, log)
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
        backbone: the model.
        log: the cache.
        owner: ``[capacity]`` the question each token of the log belongs to; the new ones are entered.
        whose: ``[T]`` the question each new token belongs to.
        hidden: their embeddings.
        positions: ``[axes, T]`` their rotary positions.
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
