"""Drives the vision tower of Qwen3-VL block by block, over all visual tokens or some.

Every block attends over the whole image. A visual token that is left out takes part in no block; the others keep their
rotary positions and their interpolated position embeddings, so that the page keeps its layout.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from glimpseprune.row_sizes import linear


def run_tower(
    vision: Any, pixels: Tensor, grid: tuple[int, int], cells: Tensor, layers: Collection[int]
) -> tuple[Tensor, tuple[Tensor, ...], dict[int, Tensor]]:
    """Run the modules of the stock tower on the patches of some visual tokens.

    Args:
        vision: stock vision tower.
        pixels: patches ``[patches, patch_dim]`` of the whole image, those of a visual token together, tokens in
            raster order.
        grid: rows and columns of patches.
        cells: raster indices ``[N]`` of the visual tokens to run, increasing.
        layers: numbers of the blocks whose output is returned.

    Returns:
        Visual tokens ``[N, D]`` in raster order; the deep features ``[N, D]`` of the tokens, for decoder layers 0, 1,
        ...; and the output of each chosen block, averaged over the patches of a token, ``[N, vision_hidden_size]``.
    """
    merge = int(vision.spatial_merge_size)
    area = merge**2
    # Little work, done on the host: the stock functions read the grid, and would wait for a GPU to tell it.
    whole = torch.tensor([[1, *grid]])
    interpolation = get_vision_interpolation_indices_and_weights(
        whole, vision.num_grid_per_side, vision.interpolation_mode, vision.interpolation_align_corners, merge
    )
    places, weights = (t.to(pixels.device) for t in interpolation)  # [patches, 4]
    positions = get_vision_position_ids(whole, merge).to(pixels.device)
    some = (cells[:, None] * area + torch.arange(area, device=cells.device)).flatten()  # patches of the tokens

    embed = vision.patch_embed.proj
    # The patch embedding is a convolution with stride = kernel; as a matrix product it is several times as fast.
    hidden = linear(pixels[some].to(embed.weight.dtype), embed.weight.flatten(1), embed.bias)
    learned = (vision.pos_embed(places[some]) * weights[some][..., None]).sum(1)  # [patches, vision_hidden_size]
    hidden = hidden + learned.to(hidden.dtype)
    rotary = vision.rotary_pos_emb(hidden, positions[some])

    merges_early = list(vision.deepstack_visual_indexes)
    deep: list[Tensor] = []
    outputs: dict[int, Tensor] = {}
    for number, block in enumerate(vision.blocks):
        hidden = _run_block(block, hidden, rotary)
        if number in merges_early:
            deep.append(vision.deepstack_merger_list[merges_early.index(number)](hidden))
        if number in layers:
            outputs[number] = hidden.view(len(cells), area, -1).mean(1)
    return vision.merger(hidden), tuple(deep), outputs


def _run_block(block: Any, hidden: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Run a stock block, whose patches attend to each other: ``[P, D] -> [P, D]``.

    Args:
        block: stock block.
        hidden: hidden states of all patches.
        rotary: cosines and sines of the patches.
    """
    attention = block.attn
    query, key, value = attention.qkv(block.norm1(hidden)).unflatten(-1, (3, attention.num_heads, -1)).unbind(1)
    query, key = apply_rotary_pos_emb_vision(query, key, *rotary)  # [P, heads, d]
    # SDPA has fused kernels for one sequence; the stock forward reads the length of every sequence back to the host.
    attended = F.scaled_dot_product_attention(*(t.transpose(0, 1)[None] for t in (query, key, value)))[0]
    hidden = hidden + attention.proj(attended.transpose(0, 1).flatten(1))
    return hidden + block.mlp(block.norm2(hidden))  # type: ignore[no-any-return]
