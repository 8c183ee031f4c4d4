"""Holds a small Qwen2.5-VL, one prompt, and the numbers that they must give.

The numbers were computed with versions of torch and transformers that reproduce the published GlimpsePrune code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from glimpseprune.families.registry import Golden

_IMAGE, _VIDEO, _START, _END = 28, 29, 30, 31
_ROWS, _COLUMNS = 3, 5  # visual tokens: neither square nor a multiple of the vision tower's window

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


def make_inputs(noise: Callable[[int, int], Tensor]) -> dict[str, Tensor]:
    """Make the prompt; ``noise(count, seed)`` gives the pixels."""
    ids = [1, 2, _START, *[_IMAGE] * (_ROWS * _COLUMNS), _END, 5, 6, 7, 8]
    return {
        "input_ids": torch.tensor([ids]),
        "pixel_values": noise(_ROWS * _COLUMNS * 4 * 1176, 99).float().view(-1, 1176),
        "image_grid_thw": torch.tensor([[1, 2 * _ROWS, 2 * _COLUMNS]]),
    }


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
        image_token_id=_IMAGE,
        video_token_id=_VIDEO,
        vision_start_token_id=_START,
        vision_end_token_id=_END,
        tie_word_embeddings=False,
    )


GOLDEN = Golden(
    make_model=make_model,
    make_inputs=make_inputs,
    scores=_SCORES,
    logits=_LOGITS,
    tokens=_TOKENS,
    logprobs=_LOGPROBS,
)
