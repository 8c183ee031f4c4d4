"""GlimpsePrune written out the long way: full sequences, explicit masks, no cache, recomputed for every new token.

It shares no function with the package besides the weights. Tokens are numbered as in the unpruned prompt throughout;
what is pruned is masked out instead of removed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import glimpseprune as gp
from tests.support.tiny_family import TinyFamily


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def additive(allowed: Tensor) -> Tensor:
    return torch.zeros(allowed.shape).masked_fill(~allowed, float("-inf"))[None, None]


def vip(glimpse: Any, attention: Tensor, features: list[Tensor], rows: int, columns: int) -> Tensor:
    config, fuser = glimpse.config, glimpse.attn_fuser
    dim = (config.attn_fuse_size + config.visual_cond_size) // config.attn_fuse_num_heads
    freqs = [1 / 10000 ** (2 * j / (dim / 2)) for j in range(dim // 4)]
    angles = torch.tensor(
        [[r * f for f in freqs] + [c * f for f in freqs] for r in range(rows) for c in range(columns)]
    ).repeat(1, 2)
    n = torch.arange(rows * columns)
    side = config.window or max(rows, columns)  # a tower without windows has one
    cell = (n // columns // side) * 10_000 + n % columns // side
    allowed = torch.ones(len(n), len(n), dtype=torch.bool) if config.attn_fuse_global else cell[:, None] == cell[None]
    x = fuser.attn_in_proj(attention)
    for i, layer in enumerate(fuser.layers):
        y = x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * layer.norm1.weight
        joint = torch.cat([y, fuser.cond_in_projs[i](features[i])], -1)
        heads = []
        q, k, v = layer.attn.q_proj(joint), layer.attn.k_proj(joint), layer.attn.v_proj(y)
        for qh, kh, vh in zip(*(t.chunk(config.attn_fuse_num_heads, -1) for t in (q, k, v)), strict=True):
            qh, kh = rotate(qh, angles.cos(), angles.sin()), rotate(kh, angles.cos(), angles.sin())
            heads.append(((qh @ kh.T / math.sqrt(dim)).masked_fill(~allowed, float("-inf"))).softmax(-1) @ vh)
        x = x + layer.attn.o_proj(torch.cat(heads, -1))
        z = x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * layer.norm2.weight
        x = x + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(z)) * layer.mlp.up_proj(z))
    return fuser.attn_out_projs[-1](x)[:, 0]


def keep_mask(scores: Tensor, rule: gp.KeepRule) -> Tensor:
    prob = scores.sigmoid()
    chosen = {i for i in range(len(prob)) if prob[i] > rule.threshold}
    best = sorted(range(len(prob)), key=lambda i: -float(scores[i]))
    if rule.max_ratio is not None and len(chosen) / len(prob) > rule.max_ratio:
        chosen = set(best[: int(rule.max_ratio * len(prob))])
    if len(chosen) < rule.min_tokens:
        chosen = set(best[: rule.min_tokens])
    return torch.tensor([i in chosen for i in range(len(prob))])


@torch.no_grad()
def answer(
    family: TinyFamily, loaded: gp.GlimpseModel, item: dict[str, Tensor], rule: gp.KeepRule, new_tokens: int
) -> tuple[Tensor, Tensor, list[int], Tensor]:
    """Scores, keep mask, tokens and first logits of one unpadded item with any number of images."""
    model: Any = loaded.base
    glimpse: Any = loaded.method
    config = glimpse.config
    lm = model.model.language_model
    ids = item["input_ids"][0]
    length, extra, K = len(ids), config.le_length, config.reduce_layer
    positions = family.positions(model, item)
    heads, kv_heads = model.config.text_config.num_attention_heads, model.config.text_config.num_key_value_heads

    embeds = lm.embed_tokens(ids).clone()
    per_image, start, deep = [], 0, []
    image_at = (ids == model.config.image_token_id).nonzero()[:, 0]
    for image in family.images(model, item, config.selected_visual_layers):
        slots = image_at[start : start + image.rows * image.columns]
        start += image.rows * image.columns
        embeds[slots] = image.tokens
        deep += [(layer, slots, summand) for layer, summand in enumerate(image.deep)]
        per_image.append((slots, image.features, image.rows, image.columns))

    def added(layer: int) -> Tensor | None:
        if not extra or layer not in config.le_layers:
            return None
        return glimpse.le_norm(glimpse.le_proj(glimpse.learnable_embeddings[config.le_layers.index(layer)]))

    def run(layer: int, hidden: Tensor, allowed: Tensor) -> Tensor:
        out = lm.layers[layer](
            hidden[None], attention_mask=additive(allowed), position_embeddings=(cos, sin), past_key_values=None
        )[0]
        for at, slots, summand in deep:
            if at == layer:
                out[slots] += summand
        return out

    hidden = embeds if not extra else torch.cat([embeds, added(0)])
    all_positions = torch.cat([positions, (positions[:, -1:] + 1 + torch.arange(extra))], 1)
    cos, sin = family.rope(model, all_positions)
    causal = torch.ones(length + extra, length + extra, dtype=torch.bool).tril()
    rows = []
    for layer in range(K + 1):
        if layer and added(layer) is not None:
            hidden = torch.cat([hidden[:length], hidden[length:] + added(layer)])
        if layer in config.selected_layers:
            block = lm.layers[layer]
            normed = block.input_layernorm(hidden)
            q = block.self_attn.q_proj(normed).unflatten(-1, (heads, -1)).transpose(0, 1)
            k = block.self_attn.k_proj(normed).unflatten(-1, (kv_heads, -1)).transpose(0, 1)
            if hasattr(block.self_attn, "q_norm"):
                q, k = block.self_attn.q_norm(q), block.self_attn.k_norm(k)
            k = k.repeat_interleave(heads // kv_heads, 0)
            q, k = rotate(q, cos[0], sin[0]), rotate(k, cos[0], sin[0])
            scores = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]))[:, -1]
            rows.append((layer, scores if config.use_attention_logits else scores.log_softmax(-1)))
        hidden = run(layer, hidden, causal)
    ordered = torch.cat([dict(rows)[layer] for layer in config.selected_layers])  # [layers * H, T]
    scores, keep, stays = [], [], torch.ones(length, dtype=torch.bool)
    for slots, features, h, w in per_image:
        one = vip(glimpse, ordered[:, slots].T, features, h, w)
        scores.append(one)
        keep.append(keep_mask(one, rule))
        stays[slots] = keep[-1]

    generated: list[int] = []
    first = torch.empty(0)
    while len(generated) < new_tokens:
        new = len(generated)
        hidden = torch.cat([embeds, lm.embed_tokens(torch.tensor(generated, dtype=torch.long))])
        after = positions[:, -1:] + 1 + torch.arange(new)
        cos, sin = family.rope(model, torch.cat([positions, after], 1))
        total = length + new
        early = torch.ones(total, total, dtype=torch.bool).tril()
        early[length:, :length] &= stays  # what was generated sees only what was kept
        late = early.clone()
        late[:, :length] &= stays
        late |= torch.eye(total, dtype=torch.bool)  # rows of pruned tokens need something to look at; nobody reads them
        for layer in range(len(lm.layers)):
            hidden = run(layer, hidden, early if layer <= K else late)
        logits = model.lm_head(lm.norm(hidden[-1]))
        if not generated:
            first = logits
        generated.append(int(logits.argmax()))
        if generated[-1] in loaded.eos_token_ids:
            break
    return torch.cat(scores), torch.cat(keep), generated, first
