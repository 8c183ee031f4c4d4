"""Prefills a prompt whose visual tokens are dropped in stages, before several decoder layers."""

from __future__ import annotations

import torch

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, deep_features, run_layers
from glimpseprune.methods.pyramiddrop import StagedMethod
from glimpseprune.prefill.alone import attention_row, kept_positions, last_rotary, next_position, surviving_tokens
from glimpseprune.prefill.partial_layer import run_to_end


def prefill_staged(
    backbone: Backbone, method: StagedMethod, prompt: Prompt, image: EncodedImage, count: int
) -> Prefilled:
    """Prefill one prompt about one image, of whose visual tokens ``count`` stay behind the last stage.

    Args:
        backbone: backbone of the model, which adds no visual features behind the first stage.
        method: what says where tokens are dropped, and how many.
        prompt: prompt with one image.
        image: the image after the vision tower.
        count: number of visual tokens that stay in the end, in 1..N.
    """
    cache, deep = PrefillCache(), deep_features(prompt, [image])
    hidden = backbone.embed(prompt, [image])  # [1, T, D]
    rotary = backbone.rotary(prompt.position_ids[:, None])
    (slots,) = prompt.image_slots
    keep = torch.ones(slots.numel(), dtype=torch.bool, device=hidden.device)
    scores = torch.zeros(slots.numel(), device=hidden.device)
    done = 0
    for layer, stay in zip(method.layers, method.counts(slots.numel(), count), strict=True):
        hidden = run_layers(backbone, range(done, layer), hidden, rotary, cache, deep=deep)
        query = backbone.queries(layer, hidden[:, -1:], last_rotary(rotary))[0]
        keys, _ = backbone.keys_values(layer, hidden, rotary)
        row = attention_row(query, keys[0], raw=False).float().logsumexp(-1)  # of all tokens that are left
        before = surviving_tokens(prompt, keep)
        scores[keep] = row[torch.isin(before, slots)]
        keep = keep & torch.zeros_like(keep).index_fill(0, scores.masked_fill(~keep, -torch.inf).topk(stay).indices, 1)
        after = surviving_tokens(prompt, keep)
        left = torch.searchsorted(before, after)
        hidden = hidden.index_select(1, left)
        cache.keep(left)
        rotary = backbone.rotary(kept_positions(prompt, after)[:, None])
        done, deep = layer, None
    ends = torch.tensor([hidden.shape[1] - 1], device=hidden.device)
    last = run_to_end(backbone, done, hidden, rotary, cache, ends)
    return Prefilled(cache, backbone.logits(last)[0], next_position(prompt), scores, keep)
