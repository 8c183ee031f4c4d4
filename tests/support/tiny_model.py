"""A tiny random Qwen2.5-VL with a complete processor, and an add-on: the real code paths, meaningless answers.

As a program, ``python -m tests.support.tiny_model FOLDER`` writes ``FOLDER/base`` and ``FOLDER/glimpse``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from glimpseprune.methods.glimpse.addon import save_addon
from glimpseprune.methods.glimpse.addon_config import AddonConfig, BaseShape
from glimpseprune.methods.glimpse.module import Glimpse

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer() -> Qwen2Tokenizer:
    """A byte-level vocabulary without merges: one token a byte, and the special tokens of Qwen2.5-VL."""
    vocab = {symbol: i for i, symbol in enumerate([*sorted(ByteLevel.alphabet()), *SPECIAL])}
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=[],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=SPECIAL[3:],
        chat_template=CHAT_TEMPLATE,
    )


def tiny_config(tokenizer: Qwen2Tokenizer, layers: int = 4) -> Qwen2_5_VLConfig:
    """A config of the smallest sizes that still have grouped queries, attention windows and three rotary axes."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    return Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 4,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [1, 3],
            "window_size": 112,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "tokens_per_second": 4,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def make_tiny_checkpoint(folder: str | Path, max_visual_tokens: int = 256, layers: int = 4) -> Path:
    """Write a checkpoint folder with weights, config, generation config and processor; same bytes every time."""
    folder = Path(folder)
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(tiny_config(tokenizer, layers))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # the initial 0.02 gives near-constant answers; wider weights spread them
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        model.model.language_model.embed_tokens.weight.normal_()
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    image_processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 4 * 28 * 28, "longest_edge": max_visual_tokens * 28 * 28}
    )
    tokenizer.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    return folder


def tiny_addon_config(layers: int = 4, **changes: object) -> AddonConfig:
    """An add-on configuration for the tiny checkpoint; ``changes`` override fields."""
    fields: dict[str, object] = {
        "base": BaseShape(64, layers, 4, 32, 4),
        "window": 4,
        "rms_norm_eps": 1e-6,
        "selected_layers": (layers - 2,),
        "use_attention_logits": True,
        "attn_fuse_size": 32,
        "visual_cond_size": 32,
        "attn_fuse_num_heads": 4,
        "attn_fuse_hidden_act": "silu",
        "attn_fuse_global": True,
        "selected_visual_layers": (3, 2, 1, 0),
        "deep_supervision": False,
        "le_layers": tuple(range(layers)),
        "le_length": 1,
        "le_norm_type": "rmsnorm",
        "reduce_layer": layers - 2,
        "reduce_threshold": 0.5,
        "min_remain_num": 1,
        "max_remain_ratio": 0.111,
    }
    return AddonConfig(**{**fields, **changes})  # type: ignore[arg-type]


def make_glimpse(config: AddonConfig) -> Glimpse:
    """A random add-on whose scores fall on both sides of the threshold."""
    torch.manual_seed(1)
    glimpse = Glimpse(config).requires_grad_(False).eval()
    for parameter in glimpse.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
    return glimpse


def make_tiny_addon(folder: str | Path, layers: int = 4, **changes: object) -> Path:
    """Write an add-on for the tiny checkpoint, in our own form."""
    save_addon(make_glimpse(tiny_addon_config(layers, **changes)), folder)
    return Path(folder)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    make_tiny_checkpoint(target / "base")
    make_tiny_addon(target / "glimpse")
