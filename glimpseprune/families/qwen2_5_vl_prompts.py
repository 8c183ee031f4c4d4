"""Prompts of Qwen2.5-VL: the processor's batch is checked and split into one prompt per item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimpseprune.errors import InputError
from glimpseprune.families.base import Prompt
from glimpseprune.families.qwen2_5_vl_rope import rope_positions


@dataclass(frozen=True, slots=True)
class PromptMaker:
    """Makes prompts from token ids and images.

    Attributes:
        image_token_id: token that stands for a visual token.
        video_token_id: token that stands for a part of a video; refused.
        merge: side of a visual token in patches.
    """

    image_token_id: int
    video_token_id: int
    merge: int

    def batch(self, inputs: Mapping[str, Any], device: torch.device) -> list[Prompt]:
        """Split a processor's batch into items.

        Args:
            inputs: the tensors that the processor made.
            device: device of the prompts.

        Raises:
            InputError: a key is missing, or images and image tokens do not match.
        """
        if "input_ids" not in inputs:
            raise InputError("inputs has no input_ids; pass what the processor returned")
        ids = inputs["input_ids"].to(device)
        mask = inputs.get("attention_mask")
        mask = torch.ones_like(ids) if mask is None else mask.to(device)
        if ids.ndim != 2 or mask.shape != ids.shape:
            raise InputError(f"input_ids {tuple(ids.shape)} and attention_mask {tuple(mask.shape)} have to be [B, T]")
        if bool((ids == self.video_token_id).any()) or inputs.get("pixel_values_videos") is not None:
            raise InputError("videos are not supported; pass images")
        pixels, grids = self._images(inputs, device)
        prompts, used = [], 0
        for row in range(ids.shape[0]):
            tokens = ids[row, mask[row].bool()]
            if not tokens.numel():
                raise InputError(f"item {row} has no tokens; its attention_mask is all zero")
            prompts.append(self._prompt(tokens, pixels[used:], grids[used:], row))
            used += len(prompts[-1].pixels)
        if used != len(grids):
            raise InputError(f"image_grid_thw has {len(grids)} images, the prompts have image tokens for {used}")
        return prompts

    def page(self, input_ids: Sequence[Tensor], pixels: Tensor, grid: tuple[int, int]) -> list[Prompt]:
        """Make several prompts about one image, which share its pixels.

        Args:
            input_ids: token ids ``[T_b]`` of each prompt.
            pixels: patches of the image, ``[patches, patch_dim]``.
            grid: rows and columns of patches.

        Raises:
            InputError: a prompt's image tokens do not match the image.
        """
        prompts = [self._prompt(ids.to(pixels.device), [pixels], [grid], row) for row, ids in enumerate(input_ids)]
        blind = [row for row, prompt in enumerate(prompts) if not prompt.pixels]
        if blind:
            raise InputError(f"item {blind[0]} has no image tokens for the page")
        return prompts

    def token_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Turn rows and columns of patches into rows and columns of visual tokens."""
        return grid[0] // self.merge, grid[1] // self.merge

    def _prompt(self, tokens: Tensor, pixels: list[Tensor], grids: list[tuple[int, int]], row: int) -> Prompt:
        """One item, whose images are the first of those given; the others are left for the items after it."""
        slots = self._image_slots(tokens, grids, row)
        grids, pixels = grids[: len(slots)], pixels[: len(slots)]
        positions = rope_positions(tokens.numel(), slots, [self.token_grid(grid) for grid in grids])
        return Prompt(tokens, positions.to(tokens.device), tuple(pixels), tuple(grids), tuple(slots))

    def _images(self, inputs: Mapping[str, Any], device: torch.device) -> tuple[list[Tensor], list[tuple[int, int]]]:
        """Patches and patch grid (rows, columns) of every image of the batch."""
        grid, pixels = inputs.get("image_grid_thw"), inputs.get("pixel_values")
        if (grid is None) != (pixels is None):
            raise InputError("pixel_values and image_grid_thw have to come together")
        if grid is None or pixels is None:
            return [], []
        sizes = [(int(t), int(h), int(w)) for t, h, w in grid.tolist()]
        if any(t != 1 for t, _, _ in sizes):
            raise InputError("image_grid_thw has an entry with more than one frame; pass images, not videos")
        patches = [h * w for _, h, w in sizes]
        if sum(patches) != pixels.shape[0]:
            raise InputError(f"image_grid_thw stands for {sum(patches)} patches, pixel_values has {pixels.shape[0]}")
        return list(pixels.to(device).split(patches)), [(h, w) for _, h, w in sizes]

    def _image_slots(self, tokens: Tensor, grids: Sequence[tuple[int, int]], row: int) -> list[Tensor]:
        """Positions of the visual tokens of each image of one item, taken from the batch's images in order."""
        positions = torch.eq(tokens, self.image_token_id).nonzero()[:, 0]
        slots: list[Tensor] = []
        for grid in grids:
            if not positions.numel():
                break
            rows, columns = self.token_grid(grid)
            mine, positions = positions[: rows * columns], positions[rows * columns :]
            if mine.numel() != rows * columns or int(mine[-1] - mine[0]) != rows * columns - 1:
                raise InputError(
                    f"item {row}: image {len(slots)} has {rows} x {columns} = {rows * columns} visual tokens, "
                    f"the prompt has another number of image tokens in a row for it"
                )
            slots.append(mine)
        if positions.numel():
            raise InputError(f"item {row} has {positions.numel()} image tokens more than its images have visual tokens")
        return slots
