"""The embedded model's sizes, and a fresh model of that shape."""

from __future__ import annotations

import torch
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from pipeline.nano.training import vocabulary

PATCH, CELL, WINDOW = 14, 28, 112  # pixels: patch of the vision tower, visual token, attention window
VISION_WIDTH, VISION_HEADS, VISION_DEPTH, VISION_MLP = 192, 6, 6, 512
FULL_ATTENTION = (1,)  # vision layers that see the whole page
WIDTH, HEADS, LAYERS, MLP = 256, 8, 6, 768
# How many wavelengths of the rotary embedding turn with time, row and column; time is constant within a page. Readers
# of the format expect these three sections one behind the other. With a base above 1 the columns would get the long
# wavelengths alone, by which neighbours cannot be told apart. Positions are whole numbers, so an angle of more than pi
# per position is as good as its remainder: this base gives rows and columns long and short wavelengths alike.
ROPE_THETA, ROPE_SECTIONS = 0.01, (2, 7, 7)
# The last three wavelengths of the columns stand still, so that a head finds what it looks for wherever it stands: with
# all of them turning, strings were found on pages of training and not on others (docs/decisions.md). Readers of the
# format know no such wavelengths, but YaRN, which divides by a factor what lies behind a wavelength, here the 13th.
ROPE_STILL, ROPE_FACTOR = 3, 22026
_YARN = {"factor": float(ROPE_FACTOR), "original_max_position_embeddings": 1, "beta_fast": 6.0, "beta_slow": 6.0}
GREY_MEAN, GREY_STD = 0.75, 0.35  # of the image processor, for each of the three channels
MAX_VISUAL_TOKENS = 2048


def make_config() -> Qwen2_5_VLConfig:
    """The transformers configuration."""
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocabulary.SIZE,
            "hidden_size": WIDTH,
            "intermediate_size": MLP,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "max_position_embeddings": ROPE_FACTOR,
            "rms_norm_eps": 1e-6,
            "bos_token_id": None,
            "eos_token_id": vocabulary.END,
            "pad_token_id": vocabulary.PAD,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": ROPE_THETA,
                "mrope_section": list(ROPE_SECTIONS),
                "attention_factor": 1.0,
                **_YARN,
            },
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": VISION_DEPTH,
            "hidden_size": VISION_WIDTH,
            "intermediate_size": VISION_MLP,
            "num_heads": VISION_HEADS,
            "patch_size": PATCH,
            "spatial_merge_size": CELL // PATCH,
            "window_size": WINDOW,
            "out_hidden_size": WIDTH,
            "fullatt_block_indexes": list(FULL_ATTENTION),
            "temporal_patch_size": 2,
        },
        image_token_id=vocabulary.IMAGE,
        video_token_id=vocabulary.VIDEO,
        vision_start_token_id=vocabulary.VISION_START,
        vision_end_token_id=vocabulary.VISION_END,
        tie_word_embeddings=True,
    )


def make_model(seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """A model with random weights in float32; each block begins close to the identity."""
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(make_config())
    vision, text = model.model.visual, model.model.language_model
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(std=0.8 * module.in_features**-0.5)
        vision.patch_embed.proj.weight.normal_(std=(3 * 2 * PATCH * PATCH) ** -0.5)
        for block in vision.blocks:
            block.attn.proj.weight.mul_(0.3)
            block.mlp.down_proj.weight.mul_(0.3)
        for layer in text.layers:
            layer.self_attn.o_proj.weight.mul_(0.3)
            layer.mlp.down_proj.weight.mul_(0.3)
        text.embed_tokens.weight.normal_(std=0.06)
    return model
