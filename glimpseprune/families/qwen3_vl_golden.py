"""Holds a small Qwen3-VL, one prompt, and the numbers that they must give.

The numbers were computed the long way, with full sequences and explicit masks over the stock modules in float64.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from glimpseprune.families.golden_prompt import END, IMAGE, START, VIDEO, golden_prompt
from glimpseprune.families.registry import Golden

_SCORES = [
    4.2189,
    4.3199,
    3.9869,
    4.1082,
    4.185,
    4.0794,
    3.8693,
    3.6622,
    3.9111,
    3.9903,
    3.9246,
    3.8237,
    3.8152,
    3.7915,
    3.9542,
]
_LOGITS = [
    -0.8534,
    -0.3038,
    1.9941,
    0.1047,
    1.2294,
    0.8312,
    2.3868,
    0.0496,
    0.6408,
    0.3792,
    -0.7287,
    2.9079,
    -1.3797,
    -0.0578,
    1.3532,
    -0.3414,
    -1.4771,
    -2.0268,
    0.4047,
    0.8318,
    3.8654,
    -2.3936,
    -1.6725,
    2.1652,
    0.213,
    -1.5363,
    -0.7314,
    0.1721,
    1.2752,
    -1.1922,
    -1.961,
    -3.1057,
]
_TOKENS = [20, 11, 29, 11, 29, 19]
_LOGPROBS = [-0.949, -1.0395, -1.3148, -1.13, -1.7144, -1.2208]


def make_model() -> Any:
    """Make the stock model; the caller fills in its weights."""
    return Qwen3VLForConditionalGeneration._from_config(_config(), dtype=torch.float32, attn_implementation="sdpa")


def _config() -> Qwen3VLConfig:
    return Qwen3VLConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 12,
            "vocab_size": 32,
            "max_position_embeddings": 512,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=False,
    )


GOLDEN = Golden(
    make_model=make_model,
    make_inputs=partial(golden_prompt, patch_dim=1536),
    scores=_SCORES,
    logits=_LOGITS,
    tokens=_TOKENS,
    logprobs=_LOGPROBS,
)
