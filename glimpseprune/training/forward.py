"""Computes the scores of a question and the logits of its answer with gradients.

Attention is causal, so the prompt's hidden states do not depend on later tokens. The prompt therefore runs once up to
layer K. The glimpse token and the answer continue from its keys and values. In stage 1, where the base is frozen,
gradients pass only through these few tokens and through the layers after K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glimpseprune.decode.cache import Continuation, PrefillCache
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, deep_features, run_layers
from glimpseprune.methods.base import Method
from glimpseprune.prefill.alone import appended_positions, attention_row, last_rotary, layer_major
from glimpseprune.training.gate import gated_causal_bias


@dataclass(frozen=True, slots=True)
class Prefix:
    """Holds a prompt after layers 0..K.

    Attributes:
        prompt: one item of a batch.
        images: images of the prompt after the vision tower.
        cache: keys and values of layers 0..K.
        hidden: hidden states ``[1, T, D]`` after layer K.
    """

    prompt: Prompt
    images: Sequence[EncodedImage]
    cache: PrefillCache
    hidden: Tensor


def run_prefix(backbone: Backbone, prompt: Prompt, images: Sequence[EncodedImage], last_layer: int) -> Prefix:
    """Run a prompt through layers 0..K.

    Args:
        backbone: backbone of the model; gradients pass where its weights learn.
        prompt: one item of a batch.
        images: images of the prompt after the vision tower.
        last_layer: number K of the prune layer.
    """
    cache = PrefillCache()
    hidden = backbone.embed(prompt, images)
    rotary = backbone.rotary(prompt.position_ids[:, None])
    deep = deep_features(prompt, images)
    hidden = run_layers(backbone, range(last_layer + 1), hidden, rotary, cache, deep=deep)
    return Prefix(prompt, images, cache, hidden)


@torch.no_grad()
def extend_prefix(backbone: Backbone, begun: Prefix, prompt: Prompt) -> Prefix:
    """Run the rest of a prompt whose beginning has run, for the result of :func:`run_prefix`.

    Args:
        backbone: backbone of the frozen model.
        begun: beginning of the prompt, images included, after layers 0..K.
        prompt: the whole prompt.
    """
    shared, length = begun.prompt.input_ids.numel(), prompt.input_ids.numel()
    tail = backbone.embed_tokens(prompt.input_ids[None, shared:])
    rotary = backbone.rotary(prompt.position_ids[:, None, shared:])
    bias = gated_causal_bias(length - shared, length, None, None, tail)
    run = Continuation(begun.cache)
    cache = PrefillCache()
    tail = run_layers(backbone, range(len(begun.cache.keys)), tail, rotary, run, bias=bias)
    for layer, (keys, values) in enumerate(zip(begun.cache.keys, begun.cache.values, strict=True)):
        cache.update(torch.cat([keys, run.keys[layer]], 2), torch.cat([values, run.values[layer]], 2), layer)
    return Prefix(prompt, begun.images, cache, torch.cat([begun.hidden, tail], dim=1))


def token_scores(backbone: Backbone, method: Method, prefix: Prefix) -> Tensor:
    """Score all visual tokens of a prompt, as inference does, with gradients for the method.

    Args:
        backbone: backbone of the model.
        method: pruning method with an appended token.
        prefix: prompt after layers 0..K.

    Returns:
        Importance logits ``[N]``.

    Raises:
        ValueError: the method appends no token.
    """
    prompt = prefix.prompt
    length = prompt.input_ids.numel()
    token = method.token_at(0)
    if token is None:
        raise ValueError(
            "expected an add-on with a glimpse token for training, found le_length 0; start from one with le_length of "
            "at least 1"
        )
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
            keys = torch.cat([prefix.cache.keys[layer], continuation.keys[layer]], dim=2)[0]
            rows[layer] = attention_row(query, keys, method.raw_attention)[:length]
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
    """Compute the logits that predict each token of an answer.

    Args:
        backbone: backbone of the frozen model.
        prefix: prompt after layers 0..K.
        answer: answer tokens ``[A]``, the end-of-sequence token included.
        last_layer: number K of the prune layer.
        gate: log gates ``[N]`` of the visual tokens; ``None`` for the unpruned model. In layers 0..K they apply to the
            attention of the answer, in later layers to that of every token.

    Returns:
        Logits ``[A, vocab]``, float32.
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
