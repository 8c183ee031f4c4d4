"""Holds a small Qwen2.5-VL, one prompt, and the numbers that they must give.

The numbers were computed with versions of torch and transformers that reproduce the published GlimpsePrune code.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from glimpseprune.families.golden_prompt import END, IMAGE, START, VIDEO, golden_prompt
from glimpseprune.families.registry import Golden

_SCORES = [
    6.8342,
    5.5866,
    5.6242,
    5.8185,
    5.7611,
    5.9336,
    5.9428,
    5.6251,
    5.2835,
    5.8042,
    6.5711,
    6.1417,
    6.6621,
    6.1752,
    6.1727,
]
_LOGITS = [
    1.1215,
    0.2622,
    -1.4624,
    -0.5983,
    -0.44,
    -0.198,
    0.8804,
    -0.3222,
    0.5308,
    1.9468,
    -0.4141,
    1.256,
    -0.2187,
    -2.0482,
    0.0688,
    2.0349,
    -4.8639,
    -2.6092,
    1.1445,
    2.779,
    3.842,
    -1.1302,
    -0.8451,
    0.6851,
    -1.6614,
    1.5647,
    0.0634,
    -2.6961,
    -0.0892,
    -1.0934,
    -2.2686,
    -0.3767,
]
_TOKENS = [20, 20, 20, 20, 20, 20]
_LOGPROBS = [-0.8503, -0.769, -1.1617, -0.5937, -0.5118, -1.2001]


def make_model() -> Any:
    """Make the stock model; the caller fills in its weights."""
    return Qwen2_5_VLForConditionalGeneration._from_config(_config(), dtype=torch.float32, attn_implementation="sdpa")


def _config() -> Qwen2_5_VLConfig:
    return Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": 32,
            "max_position_embeddings": 512,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 56,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=False,
    )


GOLDEN = Golden(
    make_model=make_model,
    make_inputs=partial(golden_prompt, patch_dim=1176),
    scores=_SCORES,
    logits=_LOGITS,
    tokens=_TOKENS,
    logprobs=_LOGPROBS,
)
