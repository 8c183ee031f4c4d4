"""Drives the CLIP tower of LLaVA block by block, over all patches of an image or some.

A visual token is one patch. One that is left out takes part in no block; the others keep their position embeddings.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from glimpseprune.row_sizes import linear


def run_tower(vision: Any, pixels: Tensor, cells: Tensor, states: Collection[int]) -> dict[int, Tensor]:
    """Run the stock blocks up to the last state that is asked for.

    State i enters block i; state 0 is the normed embeddings.

    Args:
        vision: stock vision tower.
        pixels: patches ``[patches, patch_dim]`` of the whole image, in raster order.
        cells: raster indices ``[N]`` of the patches to run, increasing.
        states: numbers of the states that are returned.

    Returns:
        Each state, ``[N, vision_hidden_size]`` in raster order, without the class token.
    """
    embeddings = vision.embeddings
    kernel = embeddings.patch_embedding.weight
    # The patch embedding is a convolution with stride = kernel, so it is a matrix product of the patches.
    patches = linear(pixels[cells].to(kernel.dtype), kernel.flatten(1))
    places = torch.cat([cells.new_zeros(1), cells + 1])  # the class token comes first
    hidden = torch.cat([embeddings.class_embedding[None], patches]) + embeddings.position_embedding(places)
    hidden = vision.pre_layrnorm(hidden[None])  # [1, 1 + N, vision_hidden_size]
    found = {}
    for number in range(max(states) + 1):
        if number:
            hidden = vision.encoder.layers[number - 1](hidden, attention_mask=None)
        if number in states:
            found[number] = hidden[0, 1:]
    return found
