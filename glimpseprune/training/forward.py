"""The differentiable forward pass of stage 1: scores of a question, and logits of its answer.

Under a causal mask the prompt's states do not depend on what follows it. So the prompt runs once, without gradients;
glimpse token and answer continue from its keys and values, and gradients pass through those few tokens only, and
through the layers after K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glimpseprune.decode.cache import Continuation, PrefillCache
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, run_layers
from glimpseprune.methods.base import Method
from glimpseprune.prefill.alone import appended_positions, attention_row, last_rotary, layer_major
from glimpseprune.training.gate import gated_causal_bias


@dataclass(frozen=True, slots=True)
class Prefix:
    """The prompt after layers 0..K.

    Attributes:
        prompt: the prompt.
        images: its images after the vision tower.
        cache: keys and values of layers 0..K.
        hidden: ``[1, T, D]`` after layer K.
    """

    prompt: Prompt
    images: Sequence[EncodedImage]
    cache: PrefillCache
    hidden: Tensor


@torch.no_grad()
def run_prefix(backbone: Backbone, prompt: Prompt, images: Sequence[EncodedImage], last_layer: int) -> Prefix:
    """Run the prompt through layers 0..``last_layer``."""
    cache = PrefillCache()
    hidden = backbone.embed(prompt, images)
    rotary = backbone.rotary(prompt.position_ids[:, None])
    hidden = run_layers(backbone, range(last_layer + 1), hidden, rotary, cache)
    return Prefix(prompt, images, cache, hidden)


@torch.no_grad()
def extend_prefix(backbone: Backbone, begun: Prefix, prompt: Prompt) -> Prefix:
    """Continue the prefix of a prompt's beginning to the whole prompt, as :func:`run_prefix` would compute it."""
    shared, length = begun.prompt.input_ids.numel(), prompt.input_ids.numel()
    tail = backbone.embed_tokens(prompt.input_ids[None, shared:])
    rotary = backbone.rotary(prompt.position_ids[:, None, shared:])
    bias = gated_causal_bias(length - shared, length, None, None, tail)
    run = Continuation(begun.cache)
    cache = PrefillCache()
    tail = run_layers(backbone, range(len(begun.cache.keys)), tail, rotary, run, bias=bias)
    for layer, keys in run.keys.items():
        cache.update(keys, run.values[layer], layer)
    return Prefix(prompt, begun.images, cache, torch.cat([begun.hidden, tail], dim=1))


def token_scores(backbone: Backbone, method: Method, prefix: Prefix) -> Tensor:
    """Importance logits of all visual tokens of the prompt, ``[N]``; the same as inference computes."""
    prompt = prefix.prompt
    length = prompt.input_ids.numel()
    token = method.token_at(0)
    if token is None:
        raise ValueError("training needs an add-on with a glimpse token (le_length of at least 1)")
    hidden = token[None].to(prefix.hidden.dtype)  # [1, le_length, D]
    rotary = backbone.rotary(appended_positions(prompt, method.appended)[:, None])
    bias = gated_causal_bias(method.appended, length + method.appended, None, None, hidden)
    rows: dict[int, Tensor] = {}
    for layer in range(method.prune_layer + 1):
        added = method.token_at(layer)
        if layer and added is not None:
            hidden = hidden + added.to(hidden.dtype)
        entering = hidden[:, -1:]
        continuation = Continuation(prefix.cache)
        hidden = backbone.run_layer(layer, hidden, rotary, continuation, bias=bias)
        if layer in method.attention_layers:
            query = backbone.queries(layer, entering, last_rotary(rotary))[0]
            rows[layer] = attention_row(query, continuation.keys[layer][0], method.raw_attention)[:length]
    attention = layer_major([rows[layer] for layer in method.attention_layers], token.new_empty(length, 0))
    return torch.cat(
        [
            method.score(
                attention[None, slots].to(token.dtype), method.precompute(image.features, image.grid, image.cells)
            )[0]
            for slots, image in zip(prompt.image_slots, prefix.images, strict=True)
        ]
    )


def answer_logits(backbone: Backbone, prefix: Prefix, answer: Tensor, last_layer: int, gate: Tensor | None) -> Tensor:
    """Logits that predict each token of the answer, ``[A, vocab]`` float32.

    Args:
        backbone: the frozen model.
        prefix: the prompt after layers 0..K.
        answer: ``[A]`` tokens, the end of sequence included.
        last_layer: K.
        gate: ``[N]`` log gates of the visual tokens: on the cache of layers 0..K that the answer reads, and on the
            attention of every token in the layers after K. ``None``: the unpruned model.
    """
    prompt = prefix.prompt
    length, more = prompt.input_ids.numel(), answer.numel() - 1
    columns = torch.cat(prompt.image_slots)
    hidden = prefix.hidden
    following = torch.arange(more, device=answer.device) + int(prompt.position_ids[:, -1].max()) + 1
    positions = torch.cat([prompt.position_ids, following.expand(prompt.position_ids.shape[0], -1)], dim=1)
    if more:
        written = backbone.embed_tokens(answer[None, :-1])
        rotary = backbone.rotary(positions[:, None, length:])
        bias = gated_causal_bias(more, length + more, columns, gate, hidden)
        run = Continuation(prefix.cache)
        written = run_layers(backbone, range(last_layer + 1), written, rotary, run, bias=bias)
        hidden = torch.cat([hidden, written], dim=1)
    rotary = backbone.rotary(positions[:, None])
    bias = gated_causal_bias(length + more, length + more, columns, gate, hidden)
    hidden = run_layers(backbone, range(last_layer + 1, backbone.num_layers), hidden, rotary, Continuation(), bias=bias)
    return backbone.logits(hidden[0, length - 1 :])
