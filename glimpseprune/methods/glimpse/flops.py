"""Counts the operations of the predictor: its matrix products, with two operations per multiply-add."""

from __future__ import annotations

from glimpseprune.methods.glimpse.addon_config import AddonConfig


def precompute_flops(addon: AddonConfig, visual: int) -> int:
    """Count the operations of the visual condition of a page, and of its part of queries and keys.

    Args:
        addon: settings of the add-on.
        visual: number of visual tokens of the page.
    """
    width = addon.attn_fuse_size + addon.visual_cond_size
    one = addon.base.vision_hidden_size * addon.visual_cond_size + 2 * addon.visual_cond_size * width
    return 2 * visual * one * len(addon.selected_visual_layers)


def score_flops(addon: AddonConfig, visual: int) -> int:
    """Count the operations of scoring per question.

    Args:
        addon: settings of the add-on.
        visual: number of visual tokens of the page.
    """
    narrow, width = addon.attn_fuse_size, addon.attn_fuse_size + addon.visual_cond_size
    # Attention over the whole image pads the values to the width of the keys, for fused kernels.
    attention = 2 * visual * 2 * width if addon.attn_fuse_global else 2 * addon.window**2 * (width + narrow)
    linear = 2 * narrow * width + 2 * narrow * narrow + 3 * narrow * 2 * narrow
    one = 2 * linear + attention
    entry = 2 * addon.base.num_attention_heads * len(addon.selected_layers) * narrow + 2 * narrow
    return visual * (one * len(addon.selected_visual_layers) + entry)
