"""Checks the token ids of a batch, and finds the places of its images among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from glimpseprune.errors import InputError
from glimpseprune.families.base import Prompt


def without_padding(inputs: Mapping[str, Any], device: torch.device) -> list[Tensor]:
    """Return the token ids ``[T]`` of each item of a batch.

    Args:
        inputs: batch as the processor returned it.
        device: device of the result.

    Raises:
        InputError: the ids are missing, do not fit to their mask, or an item has none.
    """
    if "input_ids" not in inputs:
        raise InputError("expected input_ids, found none; pass what the processor returned")
    ids = inputs["input_ids"].to(device)
    mask = inputs.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask.to(device)
    if ids.ndim != 2 or mask.shape != ids.shape:
        raise InputError(
            f"expected input_ids and attention_mask of one shape [B, T], found {tuple(ids.shape)} and "
            f"{tuple(mask.shape)}; pass what the processor returned"
        )
    rows = [row[seen.bool()] for row, seen in zip(ids, mask, strict=True)]
    empty = [number for number, row in enumerate(rows) if not row.numel()]
    if empty:
        raise InputError(f"item {empty[0]} has no tokens, since its attention_mask is all zero; leave the item out")
    return rows


def image_slots(
    tokens: Tensor, image_token_id: int, token_grids: Sequence[tuple[int, int]], row: int
) -> tuple[Tensor, ...]:
    """Find the positions ``[N_i]`` of the visual tokens of each image in one item.

    Args:
        tokens: token ids ``[T]`` of the item.
        image_token_id: token that stands for a visual token.
        token_grids: rows and columns of visual tokens of the images that follow in the batch; the item has the first.
        row: number of the item, for messages.

    Raises:
        InputError: images and image tokens do not match.
    """
    positions = torch.eq(tokens, image_token_id).nonzero()[:, 0]
    slots: list[Tensor] = []
    for rows, columns in token_grids:
        if not positions.numel():
            break
        mine, positions = positions[: rows * columns], positions[rows * columns :]
        if mine.numel() != rows * columns or int(mine[-1] - mine[0]) != rows * columns - 1:
            raise InputError(
                f"item {row}: expected {rows} x {columns} = {rows * columns} image tokens in a row for image "
                f"{len(slots)}, found another number; prompt and images must come from the same processor call"
            )
        slots.append(mine)
    if positions.numel():
        raise InputError(
            f"item {row} has {positions.numel()} image tokens more than its images have visual tokens; pass every "
            "image of the prompt"
        )
    return tuple(slots)


def all_about_the_page(prompts: list[Prompt], images: int) -> list[Prompt]:
    """Return prompts about one page, or about several at once.

    Args:
        prompts: the prompts, made from the same images.
        images: number of the images.

    Raises:
        InputError: a prompt does not have all images.
    """
    for row, prompt in enumerate(prompts):
        if len(prompt.pixels) != images:
            raise InputError(
                f"item {row} has no image tokens for {images - len(prompt.pixels)} of {images} pages; begin every "
                "prompt with the images"
            )
    return prompts
