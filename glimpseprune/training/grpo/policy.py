"""Computes the log-probabilities of sampled answers with gradients, on the pruned cache that they were sampled on."""

from __future__ import annotations

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.continuations import logits_behind
from glimpseprune.families.base import Backbone, run_layers
from glimpseprune.prefill.alone import kept_positions, next_position, surviving_tokens
from glimpseprune.training.forward import Prefix


def answer_logprobs(backbone: Backbone, prefix: Prefix, keep: Tensor, tokens: Tensor) -> Tensor:
    """Compute the log-probability of each token of several answers to one question: ``[G, A]``, float32.

    The survivors are given, since the answers were sampled behind them. They and all tokens have the positions that
    they had then.

    Args:
        backbone: backbone of the model.
        prefix: prompt after layers 0..K; its cache is not changed.
        keep: mask of the visual tokens that survived, bool ``[N]``.
        tokens: tokens of the answers, ``[G, A]``, padded behind their ends with any.
    """
    prompt, last = prefix.prompt, len(prefix.cache.keys) - 1
    survivors = surviving_tokens(prompt, keep)
    cache = PrefillCache()
    for layer, (keys, values) in enumerate(zip(prefix.cache.keys, prefix.cache.values, strict=True)):
        cache.update(keys.index_select(2, survivors), values.index_select(2, survivors), layer)
    hidden = prefix.hidden.index_select(1, survivors)
    rotary = backbone.rotary(kept_positions(prompt, survivors)[:, None])
    hidden = run_layers(backbone, range(last + 1, backbone.num_layers), hidden, rotary, cache)
    first = backbone.logits(hidden[:, -1])  # [1, vocab]
    logprobs = first.log_softmax(dim=-1)[0, tokens[:, :1]]
    if tokens.shape[1] > 1:
        later = logits_behind(backbone, cache, next_position(prompt), tokens[:, :-1]).log_softmax(dim=-1)
        logprobs = torch.cat([logprobs, later.gather(2, tokens[:, 1:, None])[:, :, 0]], dim=1)
    return logprobs
