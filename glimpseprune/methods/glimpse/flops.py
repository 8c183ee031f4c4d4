"""Operations of the predictor: two for each multiplication and addition of its matrix products."""

from __future__ import annotations

from glimpseprune.methods.glimpse.addon_config import AddonConfig


def precompute_flops(addon: AddonConfig, visual: int) -> int:
    """Count the visual condition of a page and its part of queries and keys."""
    width = addon.attn_fuse_size + addon.visual_cond_size
    one = addon.base.vision_hidden_size * addon.visual_cond_size + 2 * addon.visual_cond_size * width
    return 2 * visual * one * len(addon.selected_visual_layers)


def score_flops(addon: AddonConfig, visual: int) -> int:
    """Count the predictor's work for one question."""
    narrow, width = addon.attn_fuse_size, addon.attn_fuse_size + addon.visual_cond_size
    # Over the whole image values are padded to the width of the keys, for fused attention.
    attention = 2 * visual * 2 * width if addon.attn_fuse_global else 2 * addon.window**2 * (width + narrow)
    linear = 2 * narrow * width + 2 * narrow * narrow + 3 * narrow * 2 * narrow
    one = 2 * linear + attention
    entry = 2 * addon.base.num_attention_heads * len(addon.selected_layers) * narrow + 2 * narrow
    return visual * (one * len(addon.selected_visual_layers) + entry)
