"""Holds a small Qwen3-VL, one prompt, and the numbers that they must give.

The numbers were computed the long way, with full sequences and explicit masks over the stock modules in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from glimpseprune.families.registry import Golden

_IMAGE, _VIDEO, _START, _END = 28, 29, 30, 31
_ROWS, _COLUMNS = 3, 5  # visual tokens: not square, and more patches than learned positions

_SCORES = [3.8945, 4.0818, 4.2228, 3.7882, 4.2677, 4.0664, 3.6199, 4.1276, 4.0897, 4.0554, 4.1014, 4.1351, 3.8754, 4.0018, 3.6692]
    return {
        "input_ids": torch.tensor([ids]),
        "pixel_values": noise(_ROWS * _COLUMNS * 4 * 1536, 99).float().view(-1, 1536),
        "image_grid_thw": torch.tensor([[1, 2 * _ROWS, 2 * _COLUMNS]]),
    }


def _config() -> Qwen3VLConfig:
    return Qwen3VLConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 48,
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
