"""Random weights in the shape of a published model, with a random add-on of the published proportions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

import glimpseprune as gp
from glimpseprune.families.qwen2_5_vl import Qwen25VL
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.model import GlimpseModel

VOCAB = 4096
START, END, IMAGE, VIDEO, PAD = 4090, 4091, 4092, 4093, 4094


@dataclass(frozen=True)
class Shape:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vision_depth: int
    vision_hidden: int
    vision_mlp: int
    vision_heads: int
    reduce_layer: int
    predictor: tuple[int, int, tuple[int, ...]] | None = None
    """Width, width of its condition and visual layers of the predictor; ``None``: the published ones."""


SHAPES = {
    # The 7B model with everything about a fifth as wide, and language model (0.12 B) and predictor half as deep.
    "small": Shape(768, 14, 12, 2, 3072, 4, 256, 688, 4, 9, predictor=(48, 96, (3, 1))),
    "3b": Shape(2048, 36, 16, 2, 11008, 32, 1280, 3420, 16, 23),
    "7b": Shape(3584, 28, 28, 4, 18944, 32, 1280, 3420, 16, 18),
    "32b": Shape(5120, 64, 40, 8, 27648, 32, 1280, 3456, 16, 42),
}


def pick_device(name: str = "auto") -> tuple[torch.device, torch.dtype]:
    """A device by name, ``auto`` for CUDA where there is one, and the type that weights have there."""
    device = torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    return device, torch.bfloat16 if device.type == "cuda" else torch.float32


def make_model(
    shape: Shape, device: torch.device, dtype: torch.dtype, vocab: int = VOCAB, tied: bool = True
) -> GlimpseModel:
    """The model on a device, with as many tokens, and whether the head is the embedding."""
    head = shape.hidden // shape.heads // 2
    rows = head * 3 // 8
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocab,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.mlp,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "max_position_embeddings": 32768,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": PAD,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [head - 2 * rows, rows, rows],
            },
            "tie_word_embeddings": tied,
        },
        vision_config={
            "depth": shape.vision_depth,
            "hidden_size": shape.vision_hidden,
            "intermediate_size": shape.vision_mlp,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden,
            "fullatt_block_indexes": [7, 15, 23, 31] if shape.vision_depth == 32 else [shape.vision_depth - 1],
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    with torch.device(device):
        base = Qwen2_5_VLForConditionalGeneration(config).to(dtype).eval().requires_grad_(False)
    model = GlimpseModel(base, Qwen25VL(base), None, frozenset(), 1.0)
    addon = gp.new_glimpse(model, shape.reduce_layer).config
    if shape.predictor is not None:
        width, condition, layers = shape.predictor
        addon = replace(addon, attn_fuse_size=width, visual_cond_size=condition, selected_visual_layers=layers)
    glimpse = Glimpse(addon).to(device, dtype).eval().requires_grad_(False)
    return GlimpseModel(base, model.backbone, glimpse, frozenset(), 1.0)
