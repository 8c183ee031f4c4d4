"""A tiny random Qwen3-VL with a complete processor, and its entry in the family suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Tokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tests.support.batches import item
from tests.support.tiny_family import Inputs, StockImage, TinyFamily
from tests.support.tiny_model import SPECIAL, make_tokenizer
from tests.support.tiny_qwen2_5_vl import positions, rope, stock_inputs

PATCH_DIM = 3 * 2 * 16 * 16
ITEMS = [
    item([grid], text, seed, PATCH_DIM)
    for grid, text, seed in [((6, 9), 11, 1), ((3, 5), 30, 2), ((10, 4), 7, 3), ((8, 8), 18, 4)]
]


def tiny_config(tokenizer: Qwen2Tokenizer) -> Qwen3VLConfig:
    """The smallest sizes that still have grouped queries, heads wider than the model, and deep features of two layers.

    Blocks that give deep features are not the first ones, and a page has more patches than there are learned positions.
    """
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    return Qwen3VLConfig(
        text_config={
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 32768,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 4, 4],
                "mrope_interleaved": True,
            },
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
            "num_position_embeddings": 36,
            "deepstack_visual_indexes": [1, 2],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def make_checkpoint(folder: Path, max_visual_tokens: int = 256) -> Path:
    """Write a checkpoint folder with weights, config, generation config and processor; same bytes every time."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(tiny_config(tokenizer))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # the initial 0.02 gives near-constant answers; wider weights spread them
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:  # norms and biases that do nothing would hide a mistake
                parameter.add_(0.3 * torch.randn_like(parameter))
        model.model.language_model.embed_tokens.weight.normal_()
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        patch_size=16,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        size={"shortest_edge": 4 * 32 * 32, "longest_edge": max_visual_tokens * 32 * 32},
    ).save_pretrained(folder)
    return folder


def images(model: Any, inputs: Inputs, layers: tuple[int, ...]) -> list[StockImage]:
    """Visual tokens, mean-pooled features and deep features from the stock tower, which keeps raster order."""
    found, start = [], 0
    for grid in inputs["image_grid_thw"]:
        pixels = inputs["pixel_values"][start : start + int(grid.prod())]
        start += len(pixels)
        out = model.model.visual(pixels, grid_thw=grid[None], output_hidden_states=True)
        rows, columns = int(grid[1]) // 2, int(grid[2]) // 2
        hidden = out.hidden_states[-len(model.model.visual.blocks) :]
        features = [hidden[layer].reshape(rows * columns, 4, -1).mean(1) for layer in layers]
        found.append(StockImage(out.pooler_output, features, rows, columns, tuple(out.deepstack_features)))
    return found


def page() -> tuple[Tensor, tuple[int, int]]:
    rows, columns = ITEMS[0]["image_grid_thw"][0, 1:].tolist()
    return ITEMS[0]["pixel_values"], (rows, columns)


FAMILY = TinyFamily(
    make_checkpoint=make_checkpoint,
    addon={},
    items=ITEMS,
    two_images=item([(4, 6), (7, 3)], 9, 5, PATCH_DIM),
    no_image=item([], 12, 6, PATCH_DIM),
    page=page,
    stock_inputs=stock_inputs,
    positions=positions,
    rope=rope,
    images=images,
    failing_module=lambda model: model.model.visual.blocks[2].mlp,
    published=None,
    deep_layers=2,
)
