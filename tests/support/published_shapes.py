"""The sizes of the published Qwen2.5-VL checkpoints, as their ``config.json`` has them, on the meta device."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from glimpseprune.families.qwen2_5_vl import Qwen25VL
from glimpseprune.methods.glimpse.addon_config import new_addon_config
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.model import GlimpseModel

IMAGE, VIDEO, VISION_START, VISION_END = 151655, 151656, 151652, 151653
PUBLISHED: dict[str, dict[str, Any]] = {
    "3B": {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
           "num_key_value_heads": 2, "vocab_size": 151_936, "vision_intermediate_size": 3420, "tied": True},
    "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152_064, "vision_intermediate_size": 3420, "tied": False},
    "32B": {"hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40,
            "num_key_value_heads": 8, "vocab_size": 152_064, "vision_intermediate_size": 3456, "tied": False},
}  # fmt: skip


def published_config(name: str) -> Qwen2_5_VLConfig:
    """The configuration of a size."""
    sizes = dict(PUBLISHED[name])
    vision_mlp, tied = sizes.pop("vision_intermediate_size"), sizes.pop("tied")
    return Qwen2_5_VLConfig(
        text_config={
            **sizes,
            "max_position_embeddings": 128_000,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            "tie_word_embeddings": tied,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": vision_mlp,
            "num_heads": 16,
            "out_hidden_size": sizes["hidden_size"],
            "fullatt_block_indexes": [7, 15, 23, 31],
            "window_size": 112,
            "patch_size": 14,
            "spatial_merge_size": 2,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=tied,
    )


def published_model(name: str) -> GlimpseModel:
    """The model with an add-on of the published proportions, in bfloat16; no weight takes memory."""
    with torch.device("meta"):
        base = Qwen2_5_VLForConditionalGeneration(published_config(name)).to(torch.bfloat16).eval()
        base.requires_grad_(False)
        backbone = Qwen25VL(base)
        glimpse = Glimpse(new_addon_config(backbone.shape)).to(torch.bfloat16).eval().requires_grad_(False)
    return GlimpseModel(base, backbone, glimpse, frozenset(), 1.0)
